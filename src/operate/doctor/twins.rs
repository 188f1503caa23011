//! Whether Azure Digital Twins answers, and which calls it allows.

use super::finding::Finding;
use super::{Report, models};
use crate::digital_twins::{Client, Condition, ETag, Error, Filter, Query, TwinId};
use crate::settings::{Credentials, Settings};
use crate::telemetry::Mapping;

/// A twin that there is not.
const PROBE: &str = "function-app-doctor-probe";

/// The part of the instance that a finding is about.
const SUBJECT: &str = "Azure Digital Twins";

pub(super) async fn check(client: &Client, settings: &Settings, mapping: &Mapping, report: &mut Report) {
    let Ok(probe) = TwinId::parse(PROBE) else { return };
    let mut allows = |what: &str, answer: Result<(), Error>| {
        // Whatever else keeps a call from being answered keeps the others from it.
        let is_reached = !matches!(&answer, Err(error) if !matches!(error, Error::Denied { status: 403, .. }));
        report.tell(match answer {
            Ok(()) => Finding::good(SUBJECT, format_args!("allows to {what}")),
            Err(error) => failed(&error, what, &settings.credentials),
        });
        is_reached
    };
    if !allows("read twins", client.get(&probe).await.map(drop)) {
        return;
    }
    let query = Query::twins_where(&Filter::id_in([PROBE]));
    allows("query twins", client.query(&query).await.map(drop));
    allows("write twins", write(client, &probe).await);
    match client.list_models().await {
        Ok(stored) => {
            report.tell(Finding::good(SUBJECT, format_args!("allows to read models; it has {}", stored.len())));
            let findings = models::findings(&stored, &settings.allocation.models, mapping);
            findings.into_iter().for_each(|finding| report.tell(finding));
        }
        Err(error) => report.tell(failed(&error, "read models", &settings.credentials)),
    }
}

/// Asks to delete a twin that does not exist, at a version that none has: who may is told that there is none.
async fn write(client: &Client, probe: &TwinId) -> Result<(), Error> {
    let never = Condition::IfMatch(ETag::new("W/\"00000000-0000-0000-0000-000000000000\""));
    match client.delete(probe, never).await {
        Err(Error::NotFound { .. } | Error::PreconditionFailed { .. }) => Ok(()),
        answer => answer,
    }
}

/// A failed call, with what to do about it.
fn failed(error: &Error, what: &str, credentials: &Credentials) -> Finding {
    let finding = Finding::problem(SUBJECT, format_args!("cannot {what}: {error}"));
    match advice(error, credentials) {
        Some(advice) => finding.advise(advice),
        None => finding,
    }
}

fn advice(error: &Error, credentials: &Credentials) -> Option<&'static str> {
    Some(match error {
        Error::Token { .. } => match credentials {
            Credentials::ManagedIdentity { .. } => {
                "switch the app's managed identity on, and check AZURE_CLIENT_ID (and IDENTITY_ENDPOINT, if you set it)"
            }
            Credentials::ClientSecret { .. } => {
                "check AZURE_TENANT_ID, AZURE_CLIENT_ID, and that AZURE_CLIENT_SECRET has not expired"
            }
            Credentials::DeveloperTools => "log in with az login (or azd auth login)",
        },
        Error::Denied { status: 403, .. } => {
            "az dt role-assignment create -n <instance> --assignee <identity> --role \"Azure Digital Twins Data \
             Owner\"; a new role takes some minutes to hold"
        }
        Error::Denied { .. } => "log in to the tenant that the instance is in",
        Error::Connection { reason } if reason.to_lowercase().contains("certificate") => {
            "name the PEM file of whoever vouches for it in ADT_CA_FILE: local-azure's, or that of a proxy that \
             inspects TLS"
        }
        Error::Connection { .. } | Error::Timeout { .. } => {
            "check the host in ADT_SERVICE_URL, the network, and a proxy (HTTPS_PROXY, NO_PROXY)"
        }
        Error::Unavailable { .. } => "check ADT_SERVICE_URL: is it the host name of the instance?",
        Error::Throttled { .. } => "try again later: the instance is busy",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scripted::{Service, Step};

    fn settings() -> Settings {
        Settings::read(|name| (name == "ADT_SERVICE_URL").then(|| "https://localhost".to_owned())).unwrap()
    }

    async fn report(service: &Service) -> Report {
        let mut report = Report::to(|_| {});
        check(&service.client(), &settings(), &Mapping::default(), &mut report).await;
        report
    }

    #[tokio::test]
    async fn every_kind_of_call_is_tried_and_nothing_is_changed() {
        let service = Service::with_models([]);
        service.script("MODELS", Step::Refuse(403, ""));
        report(&service).await;
        let calls = service.calls();
        let probe = ["GET function-app-doctor-probe", "QUERY", "DELETE function-app-doctor-probe", "MODELS"];
        assert_eq!(calls, probe);
    }

    #[tokio::test]
    async fn a_role_that_is_missing_hides_no_other() {
        let service = Service::with_models([]);
        service.fail("", 403, "");
        assert_eq!(report(&service).await.problems, 4);
    }

    #[tokio::test]
    async fn what_does_not_answer_is_not_asked_again() {
        let service = Service::with_models([]);
        service.fail("", 401, "");
        assert_eq!(report(&service).await.problems, 1);
        assert_eq!(service.calls().len(), 1);
    }

    #[test]
    fn what_can_be_done_is_said() {
        let connection = |reason: &str| Error::Connection { reason: reason.to_owned() };
        let developer = Credentials::DeveloperTools;
        for (error, says) in [
            (connection("invalid peer certificate: UnknownIssuer"), "ADT_CA_FILE"),
            (connection("dns error"), "ADT_SERVICE_URL"),
            (Error::Token { reason: "no CLI".to_owned() }, "az login"),
            (Error::Denied { status: 401, hint: "" }, "tenant"),
            (Error::Denied { status: 403, hint: "" }, "role-assignment"),
            (Error::Unavailable { status: 404, code: None, message: String::new() }, "ADT_SERVICE_URL"),
            (Error::Throttled { retry_after: None }, "later"),
        ] {
            assert!(advice(&error, &developer).unwrap().contains(says), "{error}");
        }
    }
}
