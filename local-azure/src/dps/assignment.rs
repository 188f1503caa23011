//! Putting a device into the hub that was chosen for it (DPS: reprovisioning concepts; custom allocation concepts).

use std::{convert::Infallible, sync::Arc};

use super::{
    Dps, Enrollment, RegistrationId, Reprovisioning,
    allocation::Decision,
    attestation::Proof,
    registration::{Assignment, Change, Failure, Substatus},
};
use crate::iot_hub::{Address, Condition, DeviceId, HostName, IotHub, TwinPatch};

/// What becomes of a device whose hub was chosen.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// It never had a hub.
    First,
    /// It has that hub.
    Stay,
    /// It moves, and its twin with it.
    Migrate,
    /// It moves, and begins anew.
    Reset,
}

impl Step {
    fn choose(current: Option<&Assignment>, chosen: &str, policy: Reprovisioning) -> Self {
        match (current, policy) {
            (None, _) => Self::First,
            (Some(current), _) if current.hub.eq_ignore_ascii_case(chosen) => Self::Stay,
            (Some(_), Reprovisioning::Migrate) => Self::Migrate,
            // With `Never` only the current hub is offered; should that hub be gone, the device begins anew.
            (Some(_), Reprovisioning::Reset | Reprovisioning::Never) => Self::Reset,
        }
    }
}

impl Dps {
    /// Makes the device known in its hub, with its keys or its certificate, and takes it out of the hub where it was before. Nothing
    /// else runs in between, so that registrations of one device that run at once end in one hub, and one that was
    /// forgotten in none. Gives its hub: under "never reprovision" the one where another registration put it while this
    /// one was being decided.
    ///
    /// # Errors
    /// [`Failure`] as the device is told.
    pub(super) fn assign(
        &self,
        id: &RegistrationId,
        operation: &str,
        enrollment: &Enrollment,
        proof: &Proof,
        decision: &Decision,
    ) -> Result<&HostName, Failure> {
        let failed =
            |message: String| Failure { code: 400_207, message: format!("Custom allocation failed: {message}") };
        let _alone = self.assigning();
        if self.operation(id, operation).is_none() {
            return Err(failed("the registration was forgotten".into()));
        }
        let (current, device) = self.store.read(|state| {
            let record = state.get(id);
            let own = || record.map_or(id, |record| &record.id).device_id();
            let device = enrollment.device.clone().map_or_else(own, Ok);
            (record.and_then(|record| record.assignment.clone()), device)
        });
        let device = device.map_err(|error| failed(error.to_string()))?;
        let stays = current.as_ref().filter(|_| enrollment.reprovisioning == Reprovisioning::Never);
        let hub = stays.and_then(|current| self.hub(&current.hub)).or_else(|| self.hub(decision.hub.as_str()));
        let hub = hub.ok_or_else(|| failed("the hub is not linked".into()))?;
        let initial = || decision.initial_twin.clone().or_else(|| enrolled_twin(enrollment));

        let step = Step::choose(current.as_ref(), hub.host_name().as_str(), enrollment.reprovisioning);
        let (twin, substatus) = match step {
            Step::First => (initial(), Substatus::InitialAssignment),
            // The twin is left as it is, also where it must be made anew because the device was deleted in the hub:
            // the initial twin counts on first assignment only.
            Step::Stay => (None, current.as_ref().map_or(Substatus::InitialAssignment, |current| current.substatus)),
            Step::Migrate => (self.twin_in(current.as_ref()), Substatus::DeviceDataMigrated),
            Step::Reset => (initial(), Substatus::DeviceDataReset),
        };
        hub.enroll(&device, proof.authentication(), twin.as_ref()).map_err(|error| failed(error.to_string()))?;
        if matches!(step, Step::Migrate | Step::Reset) {
            self.remove_from(current.as_ref());
        }
        let assignment = Assignment { hub: hub.host_name().to_string(), device, substatus };
        let change = Change::Assign { id: id.clone(), assignment };
        let Ok(()) = self.store.change(|_| Ok::<_, Infallible>((vec![change], ())));
        Ok(hub.host_name())
    }

    /// Tags and desired properties of a device where it is now.
    fn twin_in(&self, current: Option<&Assignment>) -> Option<TwinPatch> {
        let (hub, at) = self.place(current?)?;
        hub.device_twin(&at).map(|twin| without_metadata(&twin))
    }

    fn remove_from(&self, current: Option<&Assignment>) {
        if let Some((hub, at)) = current.and_then(|current| self.place(current)) {
            // Gone already is as good.
            let _ = hub.delete(&at, &Condition::Any);
        }
    }

    fn place(&self, assignment: &Assignment) -> Option<(&Arc<IotHub>, Address)> {
        Some((self.hub(&assignment.hub)?, Address::device(DeviceId::clone(&assignment.device))))
    }
}

fn enrolled_twin(enrollment: &Enrollment) -> Option<TwinPatch> {
    enrollment.initial_twin.as_ref().map(TwinPatch::from_json)
}

/// `$metadata` and `$version` belong to the twin that was left.
fn without_metadata(twin: &serde_json::Value) -> TwinPatch {
    let mut patch = TwinPatch::from_json(twin);
    if let Some(desired) = patch.desired.as_mut().and_then(serde_json::Value::as_object_mut) {
        desired.retain(|name, _| !name.starts_with('$'));
    }
    patch
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_moves_only_when_another_hub_is_chosen() {
        let current = Assignment {
            hub: "a.azure-devices.net".into(),
            device: "d1".parse().unwrap(),
            substatus: Substatus::InitialAssignment,
        };
        let step = |current, chosen, policy| Step::choose(current, chosen, policy);
        assert_eq!(step(None, "a.azure-devices.net", Reprovisioning::Migrate), Step::First);
        assert_eq!(step(Some(&current), "A.azure-devices.net", Reprovisioning::Reset), Step::Stay);
        assert_eq!(step(Some(&current), "b.azure-devices.net", Reprovisioning::Migrate), Step::Migrate);
        assert_eq!(step(Some(&current), "b.azure-devices.net", Reprovisioning::Reset), Step::Reset);
    }
}
