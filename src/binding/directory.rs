//! Finding the twin of a device, and remembering it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dtdl::{ModelId, ModelSet};
use jiff::Timestamp;
use moka::ops::compute::Op;
use moka::sync::Cache;
use tokio::sync::{Mutex, OnceCell};
use tokio::time::Instant;

use super::bound::{Binding, Bookkeeping, HUB_DEVICE_ID, HUB_REGISTRATION_ID};
use super::choice::{Rank, choose};
use super::source_times::SourceTimes;
use crate::device::DeviceId;
use crate::digital_twins::{Client, ETag, Error, Filter, PropertyPath, Query, Twin, TwinId};

/// How long it is remembered that a device has no twin.
const NO_TWIN: Duration = Duration::from_secs(60);

/// How long the choice between several twins of one device is kept: an operator may have bound
/// another one since.
const CHOICE: Duration = Duration::from_secs(600);

/// Rows of a query that are looked at before giving up: rows lag behind, and more than a few twins
/// of one device are an operator's mistake.
const MAX_CONFIRMATIONS: usize = 4;

/// Finds twins of devices in Azure Digital Twins and remembers them, up to a number of twins.
///
/// What is remembered is not read again until somebody [`forget`](Self::forget)s it: who changes a
/// twin, or learns from a 404 that somebody else did, says so here; after a 412, [`Known::renew`]
/// takes over what the twin is now. Concurrent questions about one twin make one read. Clones share
/// what they remember.
#[derive(Debug, Clone)]
pub struct Directory {
    client: Client,
    twins: Cache<TwinId, Slot<Arc<Known>>>,
    devices: Cache<DeviceId, Slot<TwinId>>,
    source_times: SourceTimes,
}

/// What is remembered of one twin, or of one device: filled once, by whoever asks first.
type Slot<T> = Arc<OnceCell<Read<T>>>;

/// What a read gave, and when it began: what happened since may not be in it.
#[derive(Debug, Clone)]
struct Read<T> {
    found: Option<T>,
    begun: Instant,
}

impl<T> Read<T> {
    fn is_older_than(&self, age: Duration) -> bool {
        self.begun.elapsed() > age
    }
}

/// A twin that is remembered.
#[derive(Debug)]
pub struct Known {
    id: TwinId,
    model: ModelId,
    models: Arc<ModelSet>,
    binding: Binding,
    state: Mutex<State>,
}

/// What changes with every write to a twin. Held locked over a write, it also keeps two writers of
/// one process apart; the version keeps those of different processes apart.
#[derive(Debug, Clone)]
pub struct State {
    /// The version of the twin that is known.
    pub etag: ETag,
    /// How new each property is that has a source time.
    pub stamps: HashMap<PropertyPath, Stamp>,
}

/// How new a value is: by its source time, and among equal ones by the event that brought it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Stamp {
    /// The property's source time.
    pub time: Timestamp,
    /// The sequence number of the event, where this process wrote the value.
    pub sequence: Option<i64>,
}

impl Known {
    fn of(twin: &Twin, models: Arc<ModelSet>) -> Self {
        Self {
            id: twin.id().clone(),
            model: twin.model().clone(),
            binding: Binding::of(twin, Bookkeeping::of(&models, twin.model())),
            state: Mutex::new(State { etag: twin.etag().clone(), stamps: stamps(twin, &models) }),
            models,
        }
    }

    /// The twin's id.
    #[must_use]
    pub fn id(&self) -> &TwinId {
        &self.id
    }

    /// The twin's model.
    #[must_use]
    pub fn model(&self) -> &ModelId {
        &self.model
    }

    /// The model with what it extends and is composed of; empty if it is in Azure Digital Twins no more.
    #[must_use]
    pub fn models(&self) -> &ModelSet {
        &self.models
    }

    /// Takes over into `state` what a later read of the twin shows; false, and nothing is taken over, if it is not the
    /// twin that is known: it has another model, or belongs to somebody else.
    ///
    /// The twin says how new its values are. Where it takes no source times (`keeps_own`), it cannot, and what this
    /// process wrote counts as well.
    pub fn renew(&self, state: &mut State, twin: &Twin, keeps_own: bool) -> bool {
        let binding = Binding::of(twin, Bookkeeping::of(&self.models, twin.model()));
        if *twin.model() != self.model || binding != self.binding {
            return false;
        }
        let own = std::mem::replace(&mut state.stamps, stamps(twin, &self.models));
        for (path, own) in own {
            let says_more = match state.stamps.get(&path) {
                // Of equal times, ours knows the event that the value came with.
                Some(stored) => stored.time == own.time || (keeps_own && *stored < own),
                None => keeps_own && twin.value(&path).is_some(),
            };
            if says_more {
                state.stamps.insert(path, own);
            }
        }
        state.etag = twin.etag().clone();
        true
    }

    /// What writers know of the twin's state.
    #[must_use]
    pub fn state(&self) -> &Mutex<State> {
        &self.state
    }
}

fn stamps(twin: &Twin, models: &ModelSet) -> HashMap<PropertyPath, Stamp> {
    let stamp = |time| Stamp { time, sequence: None };
    let own = twin.properties().filter_map(|(name, _)| Some((PropertyPath::root(name), twin.source_time(name)?)));
    let mut stamps: HashMap<_, _> = own.map(|(path, time)| (path, stamp(time))).collect();
    for name in models.contents(twin.model()).into_iter().flat_map(|contents| contents.components.keys()) {
        let Some(component) = twin.component(name) else { continue };
        for (property, _) in component.properties() {
            if let Some(time) = component.source_time(property) {
                stamps.insert(PropertyPath::component(name, property), stamp(time));
            }
        }
    }
    stamps
}

/// Whose twin is asked for.
#[derive(Debug, Clone, Copy)]
pub struct Sender<'a> {
    /// Who sent the event.
    pub device: &'a DeviceId,
    /// The twin that the event names.
    pub claim: Option<&'a TwinId>,
    /// Whether a twin that is bound to nobody will do, if the event names it.
    pub takes_unbound: bool,
    /// When the event had come. That the twin it names is missing, or not the sender's, is believed only if it was read
    /// since: the device may have registered, with another process, just before it sent the event.
    pub came: Instant,
}

/// The answer to whose twin an event is about.
#[derive(Debug, Clone)]
pub enum Found {
    /// The twin is bound to the device.
    Bound(Arc<Known>),
    /// The twin that the event names is bound to nobody.
    Unbound(Arc<Known>),
    /// The twin that the event names is bound to another device.
    Foreign(Arc<Known>),
    /// There is no twin: none with the id that the event names, or none bound to the device.
    Missing,
}

/// A device's twin, as just read.
#[derive(Debug, Clone)]
pub struct Match {
    /// The twin.
    pub twin: Twin,
    /// What binds it to the device.
    pub rank: Rank,
    /// Its model with what that extends and is composed of.
    pub models: Arc<ModelSet>,
}

/// A twin that could be the device's.
#[derive(Debug)]
struct Candidate {
    found: Match,
    /// Read by its id, not found by a query: queries lag behind.
    is_fresh: bool,
}

impl Directory {
    /// A directory that remembers up to `capacity` twins, and as many devices without `dtId`.
    #[must_use]
    pub fn new(client: Client, capacity: u64) -> Self {
        let devices = Cache::builder().max_capacity(capacity).time_to_live(CHOICE).build();
        Self { client, twins: Cache::new(capacity), devices, source_times: SourceTimes::of_patches() }
    }

    /// The sender's twin: the one that the event names, else the one that is bound to the device.
    ///
    /// # Errors
    /// What the service answers; errors are not remembered.
    pub async fn find(&self, Sender { device, claim, takes_unbound, came }: Sender<'_>) -> Result<Found, Error> {
        let Some(id) = claim else {
            return Ok(self.of_device(device).await?.map_or(Found::Missing, Found::Bound));
        };
        let is_good =
            |known: &Known| known.binding.is_to(device) || (takes_unbound && known.binding == Binding::Nobody);
        let counts = |read: &Read<Arc<Known>>| read.begun >= came || read.found.as_deref().is_some_and(is_good);
        Ok(match self.twin(id, counts).await? {
            None => Found::Missing,
            Some(known) if known.binding.is_to(device) => Found::Bound(known),
            Some(known) if known.binding == Binding::Nobody => Found::Unbound(known),
            Some(known) => Found::Foreign(known),
        })
    }

    /// Looks for the twin that is bound to `device`, in Azure Digital Twins, whatever is remembered:
    /// by `HubDeviceId`, by the twin's id and by `HubRegistrationId`.
    ///
    /// A query lags up to 10 s behind ("Azure Digital Twins query language"): what it finds is read
    /// before it is believed, and what it does not find may still be there.
    ///
    /// # Errors
    /// What the service answers.
    pub async fn look_up(&self, device: &DeviceId) -> Result<Option<Match>, Error> {
        let lower = device.as_str().to_ascii_lowercase();
        let spellings = || [device.as_str(), lower.as_str()].into_iter();
        let query = Query::twins_where(
            &Filter::property_in(HUB_DEVICE_ID, [device.as_str()])
                .or(Filter::property_in(HUB_REGISTRATION_ID, spellings()))
                .or(Filter::id_in(spellings())),
        );
        let own_id = TwinId::parse(&lower).ok();
        let own = async {
            match &own_id {
                Some(id) => self.client.get(id).await,
                None => Ok(None),
            }
        };
        let (own, mut rows) = tokio::try_join!(own, self.client.query(&query))?;
        // The read is newer than the row, also where it found nothing.
        rows.retain(|row| Some(row.id()) != own_id.as_ref());
        let seen = own.into_iter().map(|twin| (twin, true)).chain(rows.into_iter().map(|row| (row, false)));
        let mut candidates = Vec::new();
        for (twin, is_fresh) in seen {
            candidates.extend(self.claimed(twin, device).await?.map(|found| Candidate { found, is_fresh }));
        }
        self.confirm(candidates, device).await
    }

    /// Forgets a twin: it was changed, deleted, or is not as remembered.
    pub fn forget(&self, id: &TwinId) {
        self.twins.invalidate(id);
    }

    /// Forgets which twin is a device's, and that it has none.
    pub fn forget_device(&self, device: &DeviceId) {
        self.devices.invalidate(device);
    }

    /// Whether Azure Digital Twins takes source times in patches.
    #[must_use]
    pub fn source_times(&self) -> &SourceTimes {
        &self.source_times
    }

    async fn of_device(&self, device: &DeviceId) -> Result<Option<Arc<Known>>, Error> {
        // The second look is for a twin that is no longer there, or no longer the device's.
        for _ in 0..2 {
            let slot = self.devices.get_with_by_ref(device, Slot::default);
            let read = slot.get_or_try_init(|| self.read_device(device)).await?;
            let known = match &read.found {
                None if !read.is_older_than(NO_TWIN) => return Ok(None),
                None => None,
                Some(id) => self.twin(id, |read| read.found.is_some() || !read.is_older_than(NO_TWIN)).await?,
            };
            match known.filter(|known| known.binding.is_to(device)) {
                Some(known) => return Ok(Some(known)),
                None => self.devices.invalidate(device),
            }
        }
        Ok(None)
    }

    async fn read_device(&self, device: &DeviceId) -> Result<Read<TwinId>, Error> {
        let begun = Instant::now();
        let found = self.look_up(device).await?.map(|Match { twin, models, .. }| {
            let known = Known::of(&twin, models);
            let remembered = self.twins.get(twin.id()).and_then(|slot| slot.get()?.found.clone());
            // One that is still right stays: it knows the order of what this process wrote, and its lock is held by
            // who writes just now.
            if !remembered.is_some_and(|it| it.model == known.model && it.binding == known.binding) {
                let slot = OnceCell::new_with(Some(Read { found: Some(Arc::new(known)), begun }));
                self.twins.insert(twin.id().clone(), Arc::new(slot));
            }
            twin.id().clone()
        });
        Ok(Read { found, begun })
    }

    /// The twin with that id. It is read, once, unless a read that `counts` is remembered or under way.
    async fn twin(&self, id: &TwinId, counts: impl Fn(&Read<Arc<Known>>) -> bool) -> Result<Option<Arc<Known>>, Error> {
        let asked = Instant::now();
        loop {
            let slot = self.twins.get_with_by_ref(id, Slot::default);
            let read = slot.get_or_try_init(|| self.read_twin(id)).await?;
            if read.begun >= asked || counts(read) {
                return Ok(read.found.clone());
            }
            // Unless somebody else did so meanwhile, and asks.
            self.twins.entry_by_ref(id).and_compute_with(|entry| match entry {
                Some(entry) if Arc::ptr_eq(entry.value(), &slot) => Op::Remove,
                _ => Op::Nop,
            });
        }
    }

    async fn read_twin(&self, id: &TwinId) -> Result<Read<Arc<Known>>, Error> {
        let begun = Instant::now();
        let found = match self.client.get(id).await? {
            Some(twin) => Some(Arc::new(Known::of(&twin, self.client.model_of(&twin).await?))),
            None => None,
        };
        Ok(Read { found, begun })
    }

    /// `twin` with its model, if it is bound to `device`.
    async fn claimed(&self, twin: Twin, device: &DeviceId) -> Result<Option<Match>, Error> {
        let models = self.client.model_of(&twin).await?;
        let rank = Rank::of_device(&twin, Bookkeeping::of(&models, twin.model()), device);
        Ok(rank.map(|rank| Match { twin, rank, models }))
    }

    /// The best candidate that is what it seems: fresh, or read again here.
    async fn confirm(&self, mut candidates: Vec<Candidate>, device: &DeviceId) -> Result<Option<Match>, Error> {
        for _ in 0..MAX_CONFIRMATIONS {
            let Some(choice) = choose(candidates.iter().map(|Candidate { found, .. }| (found.rank, &found.twin)))
            else {
                return Ok(None);
            };
            choice.warn_of_rivals(device.as_str());
            let chosen = choice.chosen.id().clone();
            let Some(at) = candidates.iter().position(|candidate| *candidate.found.twin.id() == chosen) else {
                return Ok(None);
            };
            let Candidate { found, is_fresh } = candidates.swap_remove(at);
            if is_fresh {
                return Ok(Some(found));
            }
            if let Some(twin) = self.client.get(&chosen).await?
                && let Some(found) = self.claimed(twin, device).await?
            {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
