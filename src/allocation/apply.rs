//! Carrying a registration out in Azure Digital Twins.
//!
//! Two round trips one after the other: the twins in sight and the model asked for are read at once,
//! then one write. A write that meets somebody else's costs two more. If that meets one again, a last
//! look tells whether it was another registration of the same device: whoever wrote then had read
//! after the first conflict, so after this call began, and recorded what was to be recorded. If it was
//! not, it is up to DPS to ask again.

use std::sync::Arc;

use dtdl::{ModelId, ModelSet};
use jiff::Timestamp;
use tokio::time::Instant;

use super::DpsAdtAllocation;
use super::failure::Failure;
use super::plan::{Models, Moment, Plan, Registration, Rejection, Seen, choose_twin};
use super::request::AllocationRequest;
use crate::binding::HUB_REGISTRATION_ID;
use crate::digital_twins::{
    Condition, Creation, Error, Filter, InvalidId, Query, Relationship, RelationshipId, TwinId,
};

/// The twin that a registration ended with.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Settled {
    pub(super) twin: TwinId,
    pub(super) model: ModelId,
    /// Made by this registration.
    pub(super) is_new: bool,
}

/// How a write ended.
enum Written {
    Settled(Settled),
    /// The twin is not as it was seen.
    Conflict(Conflict),
}

struct Conflict {
    twin: TwinId,
    /// The time with which the twin was to be created.
    created_at: Option<Timestamp>,
}

/// What deciding takes.
struct Sight {
    own_id: TwinId,
    seen: Vec<Seen>,
    asked: Arc<ModelSet>,
}

impl DpsAdtAllocation {
    /// Finds or makes the twin of a device, and binds it. What was remembered of it and of the device is forgotten.
    pub(super) async fn settle(&self, registration: Registration<'_>) -> Result<Settled, Failure> {
        let settled = self.bind(registration).await?;
        self.directory.forget(&settled.twin);
        self.directory.forget_device(&registration.request.device_id);
        Ok(settled)
    }

    async fn bind(&self, registration: Registration<'_>) -> Result<Settled, Failure> {
        let mut sight = self.look(registration.request).await?;
        let conflict = match self.decide(registration, &sight).await? {
            Written::Settled(settled) => return Ok(settled),
            Written::Conflict(conflict) => conflict,
        };
        self.look_again(&mut sight, &conflict.twin).await?;
        let settled = match self.decide(registration, &sight).await? {
            Written::Settled(settled) => settled,
            Written::Conflict(Conflict { twin, .. }) => {
                self.look_again(&mut sight, &twin).await?;
                match self.plan(registration, &sight, Moment::now()).await? {
                    Plan::Keep { id, model } => Settled { twin: id, model, is_new: false },
                    Plan::Create { .. } | Plan::Patch { .. } => return Err(Failure::Contended { twin }),
                }
            }
        };
        let is_new = settled.is_new || sight.was_created_at(&settled.twin, conflict.created_at);
        Ok(Settled { is_new, ..settled })
    }

    async fn look(&self, request: &AllocationRequest) -> Result<Sight, Failure> {
        let own_id = own_id(request)?;
        let query = Query::twins_where(&Filter::property_in(HUB_REGISTRATION_ID, spellings(request)));
        let (asked, own, rows) =
            tokio::join!(self.model(&request.model), self.client.get(&own_id), self.client.query(&query));
        let (asked, own, rows) = (asked?, own?, rows?);
        // The read is newer than the row, also where it found nothing.
        let rows = rows.into_iter().filter(|row| *row.id() != own_id).map(|twin| Seen { twin, is_fresh: false });
        let own = own.map(|twin| Seen { twin, is_fresh: true });
        let seen = own.into_iter().chain(rows).collect();
        Ok(Sight { own_id, seen, asked })
    }

    /// Reads the twin that was not as it was seen. Another query would show no more than the first:
    /// it lags.
    async fn look_again(&self, sight: &mut Sight, changed: &TwinId) -> Result<(), Failure> {
        let other = async { if *changed == sight.own_id { Ok(None) } else { self.client.get(changed).await } };
        let (own, other) = tokio::try_join!(self.client.get(&sight.own_id), other)?;
        sight.seen.retain(|seen| *seen.twin.id() != sight.own_id && seen.twin.id() != changed);
        sight.seen.extend([own, other].into_iter().flatten().map(|twin| Seen { twin, is_fresh: true }));
        Ok(())
    }

    /// Plans and writes. Where the service refuses the write with a source time, the same again without.
    async fn decide(&self, registration: Registration<'_>, sight: &Sight) -> Result<Written, Failure> {
        let (of_new_twins, of_patches) = (&self.source_times_of_new_twins, self.directory.source_times());
        let (in_new_twins, in_patches) = (of_new_twins.are_taken(), of_patches.are_taken());
        let moment = Moment { in_new_twins, in_patches, ..Moment::now() };
        let plan = self.plan(registration, sight, moment).await?;
        let (source_times, were_tried) = match plan {
            Plan::Create { .. } => (of_new_twins, in_new_twins),
            Plan::Patch { .. } | Plan::Keep { .. } => (of_patches, in_patches),
        };
        match self.write(plan, moment).await {
            Err(Error::Refused { .. }) if were_tried => {}
            written => return Ok(written?),
        }
        let moment = moment.without_source_times();
        let plan = self.plan(registration, sight, moment).await?;
        let written = self.write(plan, moment).await?;
        if matches!(written, Written::Settled(_)) {
            source_times.were_refused();
        }
        Ok(written)
    }

    async fn plan(&self, registration: Registration<'_>, sight: &Sight, moment: Moment) -> Result<Plan, Failure> {
        let request = registration.request;
        let Some(choice) = choose_twin(request, &sight.seen)? else {
            return Ok(registration.create(sight.own_id.clone(), &sight.asked, moment)?);
        };
        choice.warn_of_rivals(request.registration_id.as_str());
        let model = choice.chosen.twin.model();
        let has = if *model == request.model { sight.asked.clone() } else { self.model(model).await? };
        let models = Models { asked: &sight.asked, has: &has };
        Ok(registration.update(choice.chosen, models, self.settings.model_change, moment)?)
    }

    async fn write(&self, plan: Plan, moment: Moment) -> Result<Written, Error> {
        let (twin, model, is_new) = match plan {
            Plan::Keep { id, model } => (id, model, false),
            Plan::Create { id, twin, model } => match self.client.create(&id, &twin).await? {
                Creation::Created(_) => (id, model, true),
                Creation::Exists => {
                    let created_at = moment.in_new_twins.then_some(moment.now);
                    return Ok(Written::Conflict(Conflict { twin: id, created_at }));
                }
            },
            Plan::Patch { id, etag, patch, model } => {
                match self.client.patch(&id, &patch, Condition::IfMatch(etag)).await {
                    Ok(_) => (id, model, false),
                    Err(Error::NotFound { .. } | Error::PreconditionFailed { .. }) => {
                        return Ok(Written::Conflict(Conflict { twin: id, created_at: None }));
                    }
                    Err(error) => return Err(error),
                }
            }
        };
        Ok(Written::Settled(Settled { twin, model, is_new }))
    }

    async fn model(&self, model: &ModelId) -> Result<Arc<ModelSet>, Failure> {
        match self.client.model(model).await {
            Err(Error::NotFound { .. }) => Err(Rejection::NoSuchModel { model: model.clone() }.into()),
            models => Ok(models?),
        }
    }

    /// Puts a new twin below its parent: a `contains` relationship. A twin without it is still the
    /// device's twin, so a failure is only logged.
    pub(super) async fn put_below(&self, parent: &str, twin: &TwinId, deadline: Instant) {
        let outcome = async {
            let relationship = contains(parent, twin).map_err(|error| error.to_string())?;
            let put = tokio::time::timeout_at(deadline, self.client.put_relationship(&relationship));
            match put.await {
                Ok(Ok(_)) => Ok(()),
                Ok(Err(error)) => Err(error.to_string()),
                Err(_) => Err("no time left".to_owned()),
            }
        };
        if let Err(reason) = outcome.await {
            let parent: String = parent.chars().take(MAX_SHOWN).collect();
            tracing::warn!(parent, twin = %twin, reason, "the new twin has no parent: add the relationship by hand");
        }
    }
}

/// As much of a parent's id, which may be no id at all, as a log line shows, in characters.
const MAX_SHOWN: usize = 128;

impl Sight {
    /// Whether the twin is the one that was to be created then: it was, and only the answer to the
    /// creation was lost and asked for again.
    fn was_created_at(&self, twin: &TwinId, time: Option<Timestamp>) -> bool {
        let twin = self.seen.iter().map(|seen| &seen.twin).find(|seen| seen.id() == twin);
        time.is_some() && twin.and_then(|twin| twin.source_time(HUB_REGISTRATION_ID.as_str())) == time
    }
}

fn own_id(request: &AllocationRequest) -> Result<TwinId, Rejection> {
    let id = request.registration_id.lower();
    TwinId::parse(id).map_err(|error: InvalidId| Rejection::NoTwinId { reason: error.to_string() })
}

/// How an operator may have written the registration id: queries compare with case.
fn spellings(request: &AllocationRequest) -> Vec<&str> {
    let id = &request.registration_id;
    let mut spellings = vec![id.lower(), id.as_str()];
    spellings.extend(request.known_spelling.as_ref().map(|id| id.as_str()));
    spellings.sort_unstable();
    spellings.dedup();
    spellings
}

/// The relationship from `parent` to `twin`. Its id is always the same, so that there is only one.
fn contains(parent: &str, twin: &TwinId) -> Result<Relationship, InvalidId> {
    Ok(Relationship {
        id: RelationshipId::parse(&format!("contains-{twin}"))?,
        source: TwinId::parse(parent)?,
        name: "contains".to_owned(),
        target: twin.clone(),
        properties: serde_json::Map::new(),
    })
}
