use super::*;

fn patch_of(twin: &str) -> Request<'_> {
    Request { service: Service::DigitalTwins, operation: "DigitalTwins_Update", class: Class::Patch, subject: twin }
}

const REGISTER: Request<'static> =
    Request { service: Service::Dps, operation: "RegisterDevice", class: Class::Other, subject: "" };

#[tokio::test(start_paused = true)]
async fn the_eleventh_write_on_one_twin_within_a_second_is_throttled_and_others_are_not() {
    let gate = Gate::new(Rules { digital_twins_limits: true, ..Rules::default() });
    for _ in 0..10 {
        assert!(gate.pass(patch_of("a")).await.is_ok());
    }
    let refusal = gate.pass(patch_of("a")).await.unwrap_err();
    assert_eq!(refusal, Refusal::too_many_requests(Duration::from_secs(5)));
    assert!(gate.pass(patch_of("b")).await.is_ok());
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(gate.pass(patch_of("a")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn all_twins_together_take_so_many_patches_and_creations_a_second() {
    let gate = Gate::new(Rules { digital_twins_limits: true, ..Rules::default() });
    let twins: Vec<String> = (0..=1_000).map(|n| n.to_string()).collect();
    let create = |twin| Request { class: Class::CreateOrDelete, operation: "DigitalTwins_Add", ..patch_of(twin) };
    let mut refused = [0, 0];
    for twin in &twins {
        refused[0] += u32::from(gate.pass(patch_of(twin)).await.is_err());
    }
    for twin in &twins[..=500] {
        refused[1] += u32::from(gate.pass(create(twin)).await.is_err());
    }
    assert_eq!(refused, [1, 1]);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert!(gate.pass(patch_of("a")).await.is_ok() && gate.pass(create("a")).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn what_a_hubs_throttle_queues_waits_its_turn_and_what_does_not_fit_is_refused() {
    let gate = Gate::new(Rules { iot_hub_limits: true, ..Rules::default() });
    let query = Request { service: Service::IotHub, operation: "QueryTwins", class: Class::Query, subject: "" };
    let clock = Clock::manual(jiff::Timestamp::UNIX_EPOCH);
    let pass = || gate.pass_to_hub(Share { hub: "a", units: 1, clock: &clock }, query);
    let start = Instant::now();
    for _ in 0..20 {
        assert!(pass().await.is_ok());
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    let waiting = [pass().await, pass().await, pass().await];
    assert!(waiting.iter().all(Result::is_ok));
    assert_eq!(start.elapsed(), Duration::from_secs(3 + 6 + 9));
    assert_eq!(pass().await.unwrap_err(), Refusal::too_many_requests(Duration::from_secs(2)));
    gate.reset();
    assert!(pass().await.is_ok());
    let unlimited = Gate::default();
    let everything = Share { hub: "a", units: u32::MAX, clock: &clock };
    assert!(unlimited.pass_to_hub(everything, query).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn latency_holds_up_the_service_it_is_set_for_only() {
    let latency = HashMap::from([(Service::DigitalTwins, Duration::from_millis(50))]);
    let gate = Gate::new(Rules { latency, ..Rules::default() });
    let start = Instant::now();
    assert!(gate.pass(REGISTER).await.is_ok());
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert!(gate.pass(patch_of("a")).await.is_ok());
    assert_eq!(start.elapsed(), Duration::from_millis(50));
    assert_eq!(gate.counts().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn each_effect_does_to_a_request_what_it_says() {
    let gate = Gate::default();
    let second = Duration::from_secs(1);
    let status = StatusCode::BAD_GATEWAY;
    let effects = [Effect::Status(status, Some(second)), Effect::Reset, Effect::LoseAnswer, Effect::Delay(second)];
    for effect in effects {
        gate.inject(Fault::new(Service::Dps, effect).times(1)).unwrap();
    }
    let refused = Refusal::Status { status, retry_after: Some(second) };
    assert_eq!(gate.pass(REGISTER).await.unwrap_err(), refused);
    assert_eq!(gate.pass(REGISTER).await.unwrap_err(), Refusal::Reset);
    assert!(!gate.pass(REGISTER).await.unwrap().is_answered().await);
    let start = Instant::now();
    assert!(gate.pass(REGISTER).await.unwrap().is_answered().await);
    assert_eq!(start.elapsed(), second);
    assert!(gate.pass(REGISTER).await.unwrap().is_answered().await);
    gate.reset();
    assert!(gate.faults().is_empty() && gate.counts().is_empty());
}

#[tokio::test]
async fn the_handler_that_makes_the_call_is_killed_before_or_after_it() {
    let gate = Gate::default();
    let killed = Arc::new(std::sync::Mutex::new(Vec::new()));
    let notes = Arc::clone(&killed);
    gate.connect_handlers(Box::new(move |instance| {
        let notes = Arc::clone(&notes);
        Box::pin(async move { notes.lock().unwrap().push(instance) })
    }));
    let killed = || std::mem::take(&mut *killed.lock().unwrap());
    for effect in [Effect::KillBefore(None), Effect::KillAfter(None), Effect::KillAfter(Some(7))] {
        gate.inject(Fault::new(Service::DigitalTwins, effect).times(1)).unwrap();
    }
    let pass = || gate.pass_from(Caller::Handler(3), patch_of("a"));
    assert_eq!(pass().await.unwrap_err(), Refusal::Reset);
    assert_eq!(killed(), [3]);
    let passage = pass().await.unwrap();
    assert!(killed().is_empty());
    assert!(!passage.is_answered().await);
    assert_eq!(killed(), [3]);
    assert!(!gate.pass(patch_of("a")).await.unwrap().is_answered().await);
    assert_eq!(killed(), [7]);
}

#[tokio::test(start_paused = true)]
async fn batches_are_counted_by_event_hub_and_meet_the_faults_of_their_partition() {
    let gate = Gate::default();
    let fault = |effect| Fault::new(Service::EventHubs, effect).on("deviceevents").about("1");
    gate.inject(fault(Effect::Delay(Duration::from_secs(1)))).unwrap();
    gate.inject(fault(Effect::Move)).unwrap();
    let start = Instant::now();
    assert_eq!(gate.pass_batch("deviceevents", 0).await, None);
    assert_eq!(gate.pass_batch("lifecycleevents", 1).await, None);
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(gate.pass_batch("deviceevents", 1).await, Some(Effect::Move));
    assert_eq!(start.elapsed(), Duration::from_secs(1));
    let counts: Vec<_> = gate.counts().into_iter().map(|count| (count.operation, count.count)).collect();
    assert_eq!(counts, [("deviceevents".to_owned(), 2), ("lifecycleevents".to_owned(), 1)]);
}
