//! What DPS is told when a registration fails.

use super::*;

#[tokio::test]
async fn permanent_failures_are_400_and_leave_everything_as_it_was() {
    let default = settings;
    let upgrade = || crate::settings::Allocation { model_change: ModelChange::Upgrade, ..settings() };
    let listed = || {
        let models = AllowedModels::Listed(vec![ModelPattern::Prefix("dtmi:x:".to_owned())]);
        crate::settings::Allocation { models, ..settings() }
    };
    let ours = || registered("thermo-01");
    let named = json!({ "$metadata": { "$model": "dtmi:x:Named;1" }, "HubDeviceId": "other" });
    let (first, third) = ("dtmi:contosocom:DigitalTwins:Thermostat;1", "dtmi:contosocom:DigitalTwins:Thermostat;3");
    for (case, settings, twin, asked, reason) in [
        ("another registration's", default(), registered("thermo-02"), THERMOSTAT, "bound to registration"),
        ("another device's", default(), named, "dtmi:x:Named;1", "bound to device"),
        ("another model", default(), ours(), "dtmi:x:Room;1", "which is not dtmi:x:Room;1"),
        ("another model, upgrades on", upgrade(), ours(), "dtmi:x:Room;1", "which is not dtmi:x:Room;1"),
        ("a lower version, upgrades on", upgrade(), ours(), first, "which is not"),
        ("a higher version, upgrades off", default(), ours(), third, "ALLOCATION_MODEL_CHANGE=upgrade"),
        ("a model that is not there", default(), ours(), "dtmi:x:Gone;1", "upload it"),
        ("a model that is not allowed", listed(), ours(), THERMOSTAT, "ALLOCATION_MODELS"),
    ] {
        let service = service();
        put(&service, "thermo-01", twin);
        let before = get(&service, "thermo-01");
        let (status, answer) = ask(&with_settings(&service, settings), &body("thermo-01", asked)).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{case}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(reason), "{case}: {answer}");
        assert_eq!(get(&service, "thermo-01"), before, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_may_pass_is_503() {
    for (call, step) in [
        ("GET thermo-01", Step::Refuse(403, "Forbidden")),
        ("QUERY", Step::Refuse(401, "Unauthorized")),
        ("GET thermo-01", Step::Hang),
        ("QUERY", Step::Hang),
        ("MODELS", Step::Hang),
        ("PATCH thermo-01", Step::Hang),
    ] {
        let service = service();
        put(&service, "thermo-01", registered("thermo-01"));
        service.script(call, step);
        let start = Instant::now();
        let (status, answer) = register(&service, "thermo-01", THERMOSTAT).await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{call}: {answer}");
        assert!(start.elapsed() <= DEADLINE, "{call}: {:?}", start.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_service_that_stays_down_or_throttles_is_503() {
    for status in [429, 500, 503] {
        for call in ["GET thermo-01", "QUERY", "PUT thermo-01"] {
            let service = service();
            for _ in 0..10 {
                service.script(call, Step::Refuse(status, "Down"));
            }
            let (answered, answer) = register(&service, "thermo-01", THERMOSTAT).await;
            assert_eq!(answered, StatusCode::SERVICE_UNAVAILABLE, "{status} to {call}: {answer}");
        }
    }
}

#[tokio::test]
async fn what_the_service_refuses_to_create_is_400() {
    let service = service();
    for _ in 0..2 {
        service.script("PUT thermo-01", Step::Refuse(400, "ModelDecommissioned"));
    }
    let (status, answer) = register(&service, "thermo-01", THERMOSTAT).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    assert!(answer["message"].as_str().unwrap().contains("ModelDecommissioned"), "{answer}");
}
