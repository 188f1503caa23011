//! What happens at once: devices register while enrollments and other registrations come and go.

use std::thread;

use super::{allocation::Decision, *};
use crate::iot_hub::{self, KeyPair};

const HUBS: [&str; 2] = ["contoso-hub.azure-devices.localhost", "fabrikam-hub.azure-devices.localhost"];

fn dps(reprovisioning: Reprovisioning) -> Arc<Dps> {
    let gate = Arc::new(Gate::default());
    let hub = |name: &str| {
        let settings = iot_hub::Settings { host_name: name.parse().unwrap(), policies: vec![], routes: vec![] };
        Arc::new(IotHub::new(settings, iot_hub::State::default(), Clock::system(), Arc::clone(&gate)))
    };
    let settings = Settings {
        id_scope: "0ne00ABCDEF".into(),
        enrollment_group: EnrollmentGroup {
            id: "group".into(),
            keys: KeyPair::generate(),
            enabled: true,
            webhook: Webhook("http://localhost/api/allocate".parse().unwrap()),
            reprovisioning,
            initial_twin: None,
        },
        owner_key: Key::generate(),
        patience: Patience::default(),
        retry_after: Duration::from_secs(1),
    };
    let hubs = HUBS.map(hub).to_vec();
    Dps::new(settings, hubs, State::default(), Clock::system(), gate, CancellationToken::new()).unwrap()
}

fn change(dps: &Dps, change: Change) {
    let Ok(()) = dps.store.change(|_| Ok::<_, std::convert::Infallible>((vec![change], ())));
}

#[test]
fn no_registration_outlives_its_enrollment() {
    let dps = dps(Reprovisioning::Migrate);
    let id: RegistrationId = "pump-1".parse().unwrap();
    let name = EnrollmentName::Individual(id.clone());
    let (_, enrollment) = dps.settings.enrollment_group.enrollment(Timestamp::UNIX_EPOCH);
    // Nothing follows from a registration under it.
    let enrollment = Enrollment { enabled: false, ..enrollment };
    let proof = Proof::Keys(KeyPair::generate());
    for _ in 0..1_000 {
        change(&dps, Change::Enroll { name: name.clone(), enrollment: Box::new(enrollment.clone()) });
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..8 {
                    let admission = Admission { enrollment: name.clone(), proof: proof.clone() };
                    drop(dps.register(&id, admission, None));
                }
            });
            scope.spawn(|| change(&dps, Change::Unenroll { name: name.clone() }));
        });
        assert_eq!(dps.registrations(), []);
    }
}

#[test]
fn a_device_that_is_never_to_move_stays_where_the_first_of_its_registrations_put_it() {
    let dps = dps(Reprovisioning::Never);
    let id: RegistrationId = "pump-1".parse().unwrap();
    let (name, enrollment) = dps.settings.enrollment_group.enrollment(Timestamp::UNIX_EPOCH);
    let proof = Proof::Keys(KeyPair::generate());
    // Both have asked before either has an answer.
    let operations = [(); 2].map(|()| dps.begin(&id, &name, &proof).unwrap().0);
    for (operation, hub) in operations.iter().zip(HUBS) {
        let decision = Decision { hub: hub.parse().unwrap(), initial_twin: None, payload: None };
        dps.assign(&id, operation, &enrollment, &proof, &decision).unwrap();
    }
    assert_eq!(dps.registration(&id).unwrap().assignment.unwrap().hub, HUBS[0]);
    assert_eq!([0, 1].map(|hub| dps.hubs[hub].devices().len()), [1, 0]);
}

#[test]
fn a_registration_that_goes_on_is_not_forgotten_for_those_that_have_ended() {
    let dps = dps(Reprovisioning::Migrate);
    let id: RegistrationId = "pump-1".parse().unwrap();
    let (name, _) = dps.settings.enrollment_group.enrollment(Timestamp::UNIX_EPOCH);
    let proof = Proof::Keys(KeyPair::generate());
    let begin = || dps.begin(&id, &name, &proof).unwrap().0;
    let slow = begin();
    for _ in 0..OPERATIONS {
        dps.end(&id, &begin(), Outcome::Assigned { payload: None });
    }
    assert!(dps.operation(&id, &slow).is_some());
}

#[test]
fn the_end_of_a_registration_that_was_forgotten_changes_nothing_of_the_next_one() {
    let dps = dps(Reprovisioning::Migrate);
    let id: RegistrationId = "pump-1".parse().unwrap();
    let (name, _) = dps.settings.enrollment_group.enrollment(Timestamp::UNIX_EPOCH);
    let proof = Proof::Keys(KeyPair::generate());
    let (forgotten, _) = dps.begin(&id, &name, &proof).unwrap();
    change(&dps, Change::Forget { id: id.clone() });
    dps.begin(&id, &name, &proof).unwrap();
    let before = dps.registration(&id);
    dps.end(&id, &forgotten, Outcome::Assigned { payload: None });
    assert_eq!(dps.registration(&id), before);
}
