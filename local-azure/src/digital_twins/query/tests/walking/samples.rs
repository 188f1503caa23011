//! Queries that walk, made by chance, and graphs to walk in.

use proptest::{collection::vec, prelude::*, sample::Index};

use super::{Sample, Test, name_of};
use crate::digital_twins::query::ast::{Clause, Direction, Join, Link, Pattern, Reach};

/// How to make a JOIN or a link; names are chosen when it is known which there are.
#[derive(Debug, Clone)]
struct Part {
    source: Index,
    known_end: Option<Index>,
    has_alias: bool,
    names: Vec<bool>,
    direction: Direction,
    reach: Reach,
}

fn part() -> impl Strategy<Value = Part> {
    let reach = prop_oneof![
        3 => Just(Reach::One(None)),
        1 => (1..=3_usize).prop_map(Reach::Exactly),
        1 => (0..2_usize).prop_map(|over| Reach::Between { over, up_to: 3 }),
        1 => (1..=3_usize).prop_map(Reach::UpTo),
    ];
    let direction = prop::sample::select(vec![Direction::Forward, Direction::Backward, Direction::Either]);
    let known_end = prop::option::weighted(0.2, any::<Index>());
    (any::<Index>(), known_end, any::<bool>(), vec(any::<bool>(), 0..3), direction, reach).prop_map(
        |(source, known_end, has_alias, names, direction, reach)| Part {
            source,
            known_end,
            has_alias,
            names,
            direction,
            reach,
        },
    )
}

/// A test on twins that are chosen when it is known which there are.
fn test() -> impl Strategy<Value = (u8, Index, Index, i64)> {
    (0..4_u8, any::<Index>(), any::<Index>(), 0..3_i64)
}

pub(super) fn sample() -> impl Strategy<Value = Sample> {
    let graph = (2..5_usize).prop_flat_map(|twins| {
        let edge = (0..twins, any::<bool>(), 0..twins).prop_filter("not to itself", |(from, _, to)| from != to);
        (vec(0..3_i64, twins), vec(edge, 0..9))
    });
    let clauses = (any::<bool>(), vec(part(), 0..3), prop::option::of(vec(part(), 0..3)));
    let tests = (any::<Index>(), vec(0..5_usize, 1..4), vec(test(), 0..3));
    (graph, clauses, tests).prop_map(|((levels, edges), (has_alias, joins, links), (bound, ids, more))| {
        let mut twins = Vec::new();
        let from = (has_alias || !joins.is_empty() || links.is_none()).then(|| "a".to_owned());
        twins.extend(from.clone());
        let mut clauses = Vec::new();
        let joins = if joins.is_empty() && links.is_none() { None } else { Some(joins) };
        for (n, part) in joins.into_iter().flatten().enumerate() {
            let source = twins[part.source.index(twins.len())].clone();
            let target = format!("j{n}");
            twins.push(target.clone());
            let relationship = name_of(part.names.contains(&true)).to_owned();
            let alias = part.has_alias.then(|| format!("k{n}"));
            clauses.push(Clause::Join(Join { target, source, relationship, alias }));
        }
        if let Some(parts) = links {
            let first = if twins.is_empty() { "m".to_owned() } else { twins[bound.index(twins.len())].clone() };
            if twins.is_empty() {
                twins.push(first.clone());
            }
            let mut links = Vec::new();
            for (n, part) in parts.into_iter().enumerate() {
                let twin = match part.known_end {
                    Some(known) => twins[known.index(twins.len())].clone(),
                    None => format!("m{n}"),
                };
                if part.known_end.is_none() {
                    twins.push(twin.clone());
                }
                let reach = match part.reach {
                    Reach::One(_) => Reach::One(part.has_alias.then(|| format!("r{n}"))),
                    reach => reach,
                };
                let names = part.names.iter().map(|is_x| name_of(*is_x).to_owned()).collect();
                links.push(Link { direction: part.direction, reach, names, twin });
            }
            clauses.push(Clause::Match(Pattern { first, links }));
        }
        if clauses.is_empty() {
            clauses.push(Clause::Match(Pattern { first: "a".to_owned(), links: Vec::new() }));
        }
        let pick = |index: Index| twins[index.index(twins.len())].clone();
        let mut tests = vec![Test::IsOne(pick(bound), ids)];
        for (kind, one, other, level) in more {
            let at_least = Test::AtLeast(pick(one), level);
            tests.push(match kind {
                0 => at_least,
                1 => Test::Same(pick(one), pick(other)),
                2 => Test::Not(Box::new(at_least)),
                _ => Test::Either(Box::new(at_least), Box::new(Test::Same(pick(other), pick(one)))),
            });
        }
        Sample { levels, edges, from, clauses, tests }
    })
}
