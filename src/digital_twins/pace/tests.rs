mod simulation;

use super::*;

fn after(start: Instant, seconds: f64) -> Instant {
    start + Duration::from_secs_f64(seconds)
}

/// Turns that are due within a second from `now`.
fn turns_within_a_second(bucket: &mut Bucket, now: Instant) -> usize {
    std::iter::from_fn(|| bucket.take(now).ok()).take_while(|turn| turn.wait <= Duration::from_secs(1)).count()
}

#[test]
fn no_second_has_many_more_calls_than_the_limit() {
    let start = Instant::now();
    let mut bucket = Bucket::new(100.0, start);
    let turns = turns_within_a_second(&mut bucket, start);
    assert!((100..=111).contains(&turns), "{turns}");
}

#[test]
fn a_call_whose_turn_is_too_far_away_is_refused_and_takes_nothing() {
    let start = Instant::now();
    let mut bucket = Bucket::new(1.0, start);
    let sent = std::iter::from_fn(|| bucket.take(start).ok()).count();
    assert_eq!(sent, 11);
    assert!(bucket.take(start).is_err());
    assert!(bucket.take(after(start, 1.0)).is_ok());
}

/// The turn of a call that went out at `taken`.
fn turn(taken: Instant) -> Turn {
    Turn { taken, wait: Duration::ZERO }
}

#[test]
fn a_429_that_comes_alone_slows_the_class_a_little_and_stops_nobody_but_its_call() {
    let start = Instant::now();
    let mut bucket = Bucket::new(100.0, start);
    let own = bucket.throttled(turn(start), Duration::from_secs(5), start);
    assert_eq!(own, Duration::from_secs(5));
    assert!((bucket.rate - 95.0).abs() < 1e-9);
    assert_eq!(bucket.take(start).unwrap().wait, Duration::ZERO);
    bucket.answered();
    assert_eq!(bucket.throttled(turn(start), Duration::from_secs(5), start), Duration::from_secs(5));
    assert_eq!(bucket.take(start).unwrap().wait, Duration::ZERO);
}

#[test]
fn two_429s_in_a_row_halve_the_rate_and_stop_the_class_for_as_long_as_they_say() {
    let start = Instant::now();
    let mut bucket = Bucket::new(100.0, start);
    bucket.refused = true;
    let turn = bucket.take(start).unwrap();
    assert_eq!(bucket.throttled(turn, Duration::from_secs(5), start), Duration::ZERO);
    assert!((bucket.rate - 50.0).abs() < 1e-9);
    assert!(bucket.take(start).unwrap().wait >= Duration::from_secs(5));
    let turns = turns_within_a_second(&mut bucket, after(start, 5.0));
    assert!((49..=56).contains(&turns), "{turns}");
}

#[test]
fn a_503_stops_its_call_alone_and_the_next_one_the_class() {
    let start = Instant::now();
    let mut bucket = Bucket::new(100.0, start);
    assert_eq!(bucket.unavailable(Duration::from_secs(3), start), Duration::from_secs(3));
    assert_eq!(bucket.take(start).unwrap().wait, Duration::ZERO);
    assert_eq!(bucket.unavailable(Duration::from_secs(3), start), Duration::ZERO);
    assert!(bucket.take(start).unwrap().wait >= Duration::from_secs(3));
    assert!((bucket.rate - 100.0).abs() < 1e-9);
}

#[test]
fn calls_under_way_together_halve_the_rate_once() {
    let start = Instant::now();
    let mut bucket = Bucket::new(100.0, start);
    bucket.refused = true;
    for _ in 0..5 {
        bucket.throttled(turn(start), Duration::ZERO, after(start, 0.1));
    }
    assert!((bucket.rate - 50.0).abs() < 1e-9);
    bucket.throttled(turn(after(start, 0.2)), Duration::ZERO, after(start, 0.3));
    assert!((bucket.rate - 25.0).abs() < 1e-9);
}

#[test]
fn the_rate_falls_no_further_than_one_call_a_second() {
    let start = Instant::now();
    let mut bucket = Bucket::new(100.0, start);
    for second in 0..60 {
        let taken = after(start, f64::from(second));
        bucket.throttled(turn(taken), Duration::ZERO, taken);
    }
    assert!((bucket.rate - MIN_RATE).abs() < 1e-9);
}

#[test]
fn success_climbs_back_to_the_limit_in_twenty_seconds() {
    let start = Instant::now();
    let mut bucket = Bucket::new(100.0, start);
    bucket.rate = 1.0;
    for tenth in 1..=100 {
        bucket.succeeded(after(start, f64::from(tenth) / 10.0));
    }
    assert!((bucket.rate - 51.0).abs() < 1e-6, "{}", bucket.rate);
    for tenth in 101..=300 {
        bucket.succeeded(after(start, f64::from(tenth) / 10.0));
    }
    assert!((bucket.rate - 100.0).abs() < 1e-9);
}

#[test]
fn a_pause_without_an_end_is_cut() {
    let start = Instant::now();
    let mut bucket = Bucket::new(100.0, start);
    bucket.pause(Duration::from_secs(86_400), start);
    assert!(bucket.take(start).is_err());
    assert!(bucket.take(after(start, 60.0)).is_ok());
}
