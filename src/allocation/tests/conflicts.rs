//! Registrations at once, and how many round trips they take.

use super::*;

#[tokio::test(start_paused = true)]
async fn allocating_takes_two_round_trips() {
    let service = service();
    let trip = Duration::from_millis(100);
    service.set_latency(trip);
    for known in [false, true] {
        let start = Instant::now();
        assert_eq!(register(&service, "thermo-01", THERMOSTAT).await.0, StatusCode::OK);
        assert_eq!(start.elapsed(), 2 * trip, "known: {known}");
    }
    let read = ["GET thermo-01", "MODELS", "QUERY"];
    let calls = service.calls();
    assert_eq!(sorted(calls[0..3].to_vec()), read);
    assert_eq!(calls[3], "PUT thermo-01");
    assert_eq!(sorted(calls[4..7].to_vec()), read);
    assert_eq!(calls[7..], ["PATCH thermo-01"]);
}

#[tokio::test(start_paused = true)]
async fn a_conflict_takes_two_round_trips_more() {
    let service = service();
    let trip = Duration::from_millis(100);
    service.set_latency(trip);
    put(&service, "thermo-01", registered("thermo-01"));
    service.script("PATCH thermo-01", Step::first(|twins| twins.touch("thermo-01", "Temperature", json!(20))));
    let start = Instant::now();
    assert_eq!(register(&service, "thermo-01", THERMOSTAT).await.0, StatusCode::OK);
    assert_eq!(start.elapsed(), 4 * trip);
    assert_eq!(get(&service, "thermo-01")["Temperature"], 20);
}

#[tokio::test]
async fn after_a_second_conflict_dps_asks_again() {
    let service = service();
    put(&service, "thermo-01", registered("thermo-01"));
    for temperature in 0..2 {
        let touch = move |twins: &mut Twins| twins.touch("thermo-01", "Temperature", json!(temperature));
        service.script("PATCH thermo-01", Step::first(touch));
    }
    let (status, answer) = register(&service, "thermo-01", THERMOSTAT).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
}

#[tokio::test]
async fn a_second_conflict_with_another_registration_is_none() {
    let service = service();
    put(&service, "thermo-01", registered("thermo-01"));
    service.script("PATCH thermo-01", Step::first(|twins| twins.touch("thermo-01", "Temperature", json!(20))));
    service.script("PATCH thermo-01", Step::first(|twins| drop(twins.put("thermo-01", just_registered("thermo-01")))));
    assert_eq!(register(&service, "thermo-01", THERMOSTAT).await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_lost_race_to_create_finds_the_winners_twin() {
    let service = service();
    // Another instance's twin appears between our reads and our creation.
    service.script(
        "PUT thermo-01",
        Step::first(|twins| {
            let mut twin = just_registered("thermo-01");
            twin["Temperature"] = json!(22);
            twins.put("thermo-01", twin);
        }),
    );
    let (status, answer) = register(&service, "thermo-01", THERMOSTAT).await;
    assert_eq!((status, &answer["payload"]["dtId"]), (StatusCode::OK, &json!("thermo-01")));
    assert_eq!(get(&service, "thermo-01")["Temperature"], 22);
    // The winner has recorded the registration: nothing to add.
    assert!(!service.calls().contains(&"PATCH thermo-01".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_registrations_at_once_make_one_twin_and_get_one_answer() {
    for (known, apart) in [(false, 0), (true, 0), (false, 1), (true, 1)] {
        let service = service();
        service.set_latency(Duration::from_millis(10));
        if known {
            put(&service, "thermo-01", registered("thermo-01"));
        }
        // Fifty instances of the app, two registrations each.
        let tasks: Vec<_> = (0..50)
            .map(|number| (number, Arc::new(function(&service))))
            .flat_map(|(number, function)| [(number, function.clone(), "Thermo-01"), (number, function, "THERMO-01")])
            .map(|(number, function, id)| {
                tokio::spawn(async move {
                    tokio::time::sleep(Duration::from_millis(number * apart)).await;
                    // A busy machine needs more than the time for one call: DPS calls again.
                    loop {
                        let answer = ask(&function, &body(id, THERMOSTAT)).await;
                        if answer.1["message"] != "not done within 4 s" {
                            break answer;
                        }
                    }
                })
            })
            .collect();
        let mut answers = Vec::new();
        for task in tasks {
            answers.push(task.await.unwrap());
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "known {known}, {apart} ms apart: {answers:#?}");
        assert_eq!(answers[0].0, StatusCode::OK);
        assert_eq!(service.with_twins(|twins| twins.ids().len()), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_write_whose_answer_was_lost_is_not_a_conflict() {
    let service = service();
    put(&service, "thermo-01", registered("thermo-01"));
    service.script("PATCH thermo-01", Step::LoseAnswer);
    assert_eq!(register(&service, "thermo-01", THERMOSTAT).await.0, StatusCode::OK);
    // Sent again by the client, and refused: its own first one had changed the twin.
    assert_eq!(service.calls().iter().filter(|call| *call == "PATCH thermo-01").count(), 2);
}
