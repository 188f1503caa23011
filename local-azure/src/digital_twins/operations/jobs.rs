//! Operations on import and delete jobs.

use std::{collections::BTreeMap, num::NonZeroUsize, ops::Bound};

use jiff::Timestamp;
use url::Url;

use super::page;
use crate::digital_twins::{
    DigitalTwins,
    error::Error,
    id::JobId,
    job::{DeleteJob, ImportJob, Job},
    state::{State, Step},
};

impl DigitalTwins {
    /// Looks at an import job as it is now.
    ///
    /// # Errors
    /// [`Error::JobNotFound`].
    pub(crate) fn with_import_job<T>(
        &self,
        id: &JobId,
        look: impl FnOnce(&ImportJob, Timestamp) -> T,
    ) -> Result<T, Error> {
        let now = self.clock.now();
        self.store.read(|state| import_job(state, id, now).map(|job| look(job, now)))
    }

    /// A page of the import jobs, ordered by id, each as `look` made it, and the id of the last one where more follow.
    pub(crate) fn list_import_jobs<T>(
        &self,
        after: Option<&JobId>,
        size: NonZeroUsize,
        look: impl Fn(&ImportJob, Timestamp) -> T,
    ) -> (Vec<T>, Option<JobId>) {
        let now = self.clock.now();
        self.store.read(|state| list(&state.jobs.imports, after, size, now, look))
    }

    /// Takes an import job, and looks at it.
    ///
    /// # Errors
    /// [`Error::InvalidBlobUri`]; [`Error::JobRunning`] while there is a job of either kind that has not ended;
    /// [`Error::JobExists`].
    pub(crate) fn add_import_job<T>(
        &self,
        id: JobId,
        input: String,
        output: String,
        look: impl FnOnce(&ImportJob, Timestamp) -> T,
    ) -> Result<T, Error> {
        check_blob_uri(&input)?;
        check_blob_uri(&output)?;
        self.change(|state, now| {
            check_idle(state, now)?;
            if import_job(state, &id, now).is_ok() {
                return Err(Error::JobExists(id));
            }
            let job = ImportJob { id, input_blob_uri: input, output_blob_uri: output, created: now, cancelled: None };
            let answer = look(&job, now);
            Ok((vec![Step::PutImportJob(job)], answer))
        })
    }

    /// Cancels an import job that has not ended, and looks at it.
    ///
    /// # Errors
    /// [`Error::JobNotFound`]; [`Error::InvalidJobRequest`] where it has ended.
    pub(crate) fn cancel_import_job<T>(
        &self,
        id: &JobId,
        look: impl FnOnce(&ImportJob, Timestamp) -> T,
    ) -> Result<T, Error> {
        self.change(|state, now| {
            let job = import_job(state, id, now)?;
            if !job.is_active(now) {
                return Err(Error::InvalidJobRequest(format!("The job {id} has ended: it cannot be cancelled.")));
            }
            let job = ImportJob { cancelled: job.cancelled.or(Some(now)), ..job.clone() };
            let answer = look(&job, now);
            Ok((vec![Step::PutImportJob(job)], answer))
        })
    }

    /// Forgets an import job that has ended.
    ///
    /// # Errors
    /// [`Error::JobNotFound`]; [`Error::InvalidJobRequest`] where it has not ended.
    pub(crate) fn delete_import_job(&self, id: &JobId) -> Result<(), Error> {
        self.change(|state, now| {
            if import_job(state, id, now)?.is_active(now) {
                return Err(Error::InvalidJobRequest(format!("The job {id} has not ended: it cannot be deleted.")));
            }
            Ok((vec![Step::DeleteImportJob(id.clone())], ()))
        })
    }

    /// Deletes all twins, relationships and models, as a job at which it looks.
    ///
    /// # Errors
    /// [`Error::JobRunning`] while there is a job of either kind that has not ended; [`Error::JobExists`].
    pub(crate) fn add_delete_job<T>(
        &self,
        id: JobId,
        look: impl FnOnce(&DeleteJob, Timestamp) -> T,
    ) -> Result<T, Error> {
        self.change(|state, now| {
            check_idle(state, now)?;
            if delete_job(state, &id, now).is_ok() {
                return Err(Error::JobExists(id));
            }
            let job = DeleteJob { id, created: now };
            let answer = look(&job, now);
            Ok((vec![Step::DeleteAll(job)], answer))
        })
    }

    /// Looks at a delete job as it is now.
    ///
    /// # Errors
    /// [`Error::DeleteJobNotFound`].
    pub(crate) fn with_delete_job<T>(
        &self,
        id: &JobId,
        look: impl FnOnce(&DeleteJob, Timestamp) -> T,
    ) -> Result<T, Error> {
        let now = self.clock.now();
        self.store.read(|state| delete_job(state, id, now).map(|job| look(job, now)))
    }

    /// A page of the delete jobs, ordered by id, each as `look` made it, and the id of the last one where more follow.
    pub(crate) fn list_delete_jobs<T>(
        &self,
        after: Option<&JobId>,
        size: NonZeroUsize,
        look: impl Fn(&DeleteJob, Timestamp) -> T,
    ) -> (Vec<T>, Option<JobId>) {
        let now = self.clock.now();
        self.store.read(|state| list(&state.jobs.deletions, after, size, now, look))
    }
}

/// A page of those behind `after` that are still remembered, each as `look` made it.
fn list<J: Job, T>(
    jobs: &BTreeMap<JobId, J>,
    after: Option<&JobId>,
    size: NonZeroUsize,
    now: Timestamp,
    look: impl Fn(&J, Timestamp) -> T,
) -> (Vec<T>, Option<JobId>) {
    let behind = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
    let jobs = jobs.range::<JobId, _>(behind).filter(|(_, job)| job.is_kept(now));
    let (jobs, last) = page(jobs, size);
    (jobs.into_iter().map(|job| look(job, now)).collect(), last)
}

fn import_job<'s>(state: &'s State, id: &JobId, now: Timestamp) -> Result<&'s ImportJob, Error> {
    kept(&state.jobs.imports, id, now).ok_or_else(|| Error::JobNotFound(id.clone()))
}

fn delete_job<'s>(state: &'s State, id: &JobId, now: Timestamp) -> Result<&'s DeleteJob, Error> {
    kept(&state.jobs.deletions, id, now).ok_or_else(|| Error::DeleteJobNotFound(id.clone()))
}

/// The job of this id, while it is remembered.
fn kept<'s, J: Job>(jobs: &'s BTreeMap<JobId, J>, id: &JobId, now: Timestamp) -> Option<&'s J> {
    jobs.get(id).filter(|job| job.is_kept(now))
}

/// One job runs at a time.
fn check_idle(state: &State, now: Timestamp) -> Result<(), Error> {
    let is_busy = state.jobs.imports.values().any(|job| job.is_active(now))
        || state.jobs.deletions.values().any(|job| job.is_active(now));
    if is_busy { Err(Error::JobRunning) } else { Ok(()) }
}

fn check_blob_uri(uri: &str) -> Result<(), Error> {
    let reason = match Url::parse(uri) {
        Ok(url) if url.has_host() && matches!(url.scheme(), "https" | "http") => return Ok(()),
        _ if uri.is_empty() => "The URI is empty.",
        _ => "The format of the URI could not be determined.",
    };
    Err(Error::InvalidBlobUri { uri: uri.to_owned(), reason })
}
