//! Import and delete jobs.
//!
//! An instance has no storage account here. An import job is taken, as the service takes one before it looks at the
//! blobs, and fails as soon as it would read its input. A delete job needs no storage: it deletes.
//!
//! What a job has come to is a matter of time, so it is worked out when somebody asks.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::{id::JobId, time};

/// How long a job waits before it runs; about as long was recorded.
const WAIT: SignedDuration = SignedDuration::from_secs(1);
/// How long a job runs.
const RUN: SignedDuration = SignedDuration::from_secs(2);
/// How long it takes to cancel one.
const CANCELLING: SignedDuration = SignedDuration::from_secs(1);
/// How long a job is remembered: 30 days, as recorded.
const KEPT: SignedDuration = SignedDuration::from_hours(30 * 24);

/// An import job, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ImportJob {
    pub(crate) id: JobId,
    pub(crate) input_blob_uri: String,
    pub(crate) output_blob_uri: String,
    pub(crate) created: Timestamp,
    pub(crate) cancelled: Option<Timestamp>,
}

/// A delete job, as it is stored. What it deletes is gone when it has been made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeleteJob {
    pub(crate) id: JobId,
    pub(crate) created: Timestamp,
}

/// What a job has come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    NotStarted,
    Running,
    Failed,
    Succeeded,
    Cancelling,
    Cancelled,
}

/// A status and since when a job has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    status: Status,
    since: Timestamp,
}

impl Progress {
    /// Of a job that nobody cancels.
    fn of(created: Timestamp, now: Timestamp, end: Status) -> Self {
        let (started, ended) = (after(created, WAIT), after(created, WAIT + RUN));
        if now >= ended {
            Self { status: end, since: ended }
        } else if now >= started {
            Self { status: Status::Running, since: started }
        } else {
            Self { status: Status::NotStarted, since: created }
        }
    }

    fn finished(self) -> Option<Timestamp> {
        let ended = matches!(self.status, Status::Failed | Status::Succeeded | Status::Cancelled);
        ended.then_some(self.since)
    }
}

fn after(time: Timestamp, wait: SignedDuration) -> Timestamp {
    time.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// What both kinds of job have in common.
pub(crate) trait Job {
    fn created(&self) -> Timestamp;

    fn progress(&self, now: Timestamp) -> Progress;

    /// Whether it still has an end before it.
    fn is_active(&self, now: Timestamp) -> bool {
        self.progress(now).finished().is_none()
    }

    /// Whether it is still remembered.
    fn is_kept(&self, now: Timestamp) -> bool {
        now < after(self.created(), KEPT)
    }
}

impl Job for ImportJob {
    fn created(&self) -> Timestamp {
        self.created
    }

    fn progress(&self, now: Timestamp) -> Progress {
        match self.cancelled {
            None => Progress::of(self.created, now, Status::Failed),
            Some(at) if now < after(at, CANCELLING) => Progress { status: Status::Cancelling, since: at },
            Some(at) => Progress { status: Status::Cancelled, since: after(at, CANCELLING) },
        }
    }
}

impl Job for DeleteJob {
    fn created(&self) -> Timestamp {
        self.created
    }

    fn progress(&self, now: Timestamp) -> Progress {
        Progress::of(self.created, now, Status::Succeeded)
    }
}

impl ImportJob {
    /// The job as clients see it.
    pub(crate) fn wire(&self, now: Timestamp) -> impl Serialize + '_ {
        let progress = self.progress(now);
        WireImportJob {
            id: &self.id,
            input_blob_uri: &self.input_blob_uri,
            output_blob_uri: &self.output_blob_uri,
            created_date_time: time::in_job(self.created),
            last_action_date_time: time::in_job(progress.since),
            finished_date_time: progress.finished().map(time::in_job),
            purge_date_time: time::in_job(after(self.created, KEPT)),
            status: progress.status,
            error: (progress.status == Status::Failed).then_some(NO_STORAGE),
        }
    }
}

impl DeleteJob {
    /// The job as clients see it.
    pub(crate) fn wire(&self, now: Timestamp) -> impl Serialize + '_ {
        let progress = self.progress(now);
        WireDeleteJob {
            id: &self.id,
            status: progress.status,
            created_date_time: time::in_job(self.created),
            finished_date_time: progress.finished().map(time::in_job),
            purge_date_time: time::in_job(after(self.created, KEPT)),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireImportJob<'a> {
    id: &'a JobId,
    input_blob_uri: &'a str,
    output_blob_uri: &'a str,
    created_date_time: String,
    last_action_date_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_date_time: Option<String>,
    purge_date_time: String,
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<JobError>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WireDeleteJob<'a> {
    id: &'a JobId,
    status: Status,
    created_date_time: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    finished_date_time: Option<String>,
    purge_date_time: String,
}

#[derive(Serialize)]
struct JobError {
    code: &'static str,
    message: &'static str,
}

/// Code and text of Azure Storage for an identity without a role on the account. What Azure Digital Twins makes of it
/// is not known.
const NO_STORAGE: JobError = JobError {
    code: "AuthorizationPermissionMismatch",
    message: "This request is not authorized to perform this operation using this permission.",
};

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const CREATED: &str = "2023-05-31T22:17:55.1753609Z";

    fn time(seconds: i64) -> Timestamp {
        after(CREATED.parse().unwrap(), SignedDuration::from_secs(seconds))
    }

    fn import(cancelled: Option<i64>) -> ImportJob {
        ImportJob {
            id: "job".parse().unwrap(),
            input_blob_uri: "https://a/b/in".to_owned(),
            output_blob_uri: "https://a/b/out".to_owned(),
            created: time(0),
            cancelled: cancelled.map(time),
        }
    }

    fn status(wire: impl Serialize) -> Value {
        serde_json::to_value(wire).unwrap()["status"].clone()
    }

    #[test]
    fn an_import_job_waits_runs_and_fails() {
        for (seconds, expected) in [(0, "notstarted"), (1, "running"), (2, "running"), (3, "failed"), (99, "failed")] {
            assert_eq!(status(import(None).wire(time(seconds))), expected, "{seconds}");
        }
        let failed = serde_json::to_value(import(None).wire(time(5))).unwrap();
        assert_eq!(failed["lastActionDateTime"], "2023-05-31T22:17:58.1753609Z");
        assert_eq!(failed["finishedDateTime"], failed["lastActionDateTime"]);
        assert_eq!(failed["purgeDateTime"], "2023-06-30T22:17:55.1753609Z");
        assert_eq!(failed["error"]["code"], "AuthorizationPermissionMismatch");
        assert!(import(None).is_kept(time(30 * 86_400 - 1)) && !import(None).is_kept(time(30 * 86_400)));
    }

    #[test]
    fn a_cancelled_job_stays_cancelled() {
        let job = import(Some(2));
        for (seconds, expected) in [(2, "cancelling"), (3, "cancelled"), (99, "cancelled")] {
            assert_eq!(status(job.wire(time(seconds))), expected, "{seconds}");
        }
        assert!(job.is_active(time(2)) && !job.is_active(time(3)));
    }

    #[test]
    fn a_delete_job_succeeds_and_has_no_members_that_are_null() {
        let job = DeleteJob { id: "job".parse().unwrap(), created: time(0) };
        assert_eq!(
            serde_json::to_value(job.wire(time(0))).unwrap(),
            json!({
                "id": "job", "status": "notstarted", "createdDateTime": CREATED,
                "purgeDateTime": "2023-06-30T22:17:55.1753609Z",
            })
        );
        assert_eq!(status(job.wire(time(3))), "succeeded");
    }
}
