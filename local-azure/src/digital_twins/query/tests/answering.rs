//! Answering queries: from the indexes as without.

use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use crate::digital_twins::{
    graph::{Graph, GraphChange},
    id::ETag,
    models::Models,
    query::{
        Ground,
        ast::{Collection, Comparison, Condition, Literal, Operand, Path},
        begin,
        check::{Plan, Rows, Scan},
        evaluate::{self, Record},
        find,
    },
    relationship::Relationship,
    twin::Twin,
    version::ApiVersion,
};

/// Twins `0` to `n`, in models and with names that repeat, each with a relationship to the next.
fn graph(n: usize) -> Graph {
    let mut graph = Graph::default();
    let id = |n: usize| n.to_string().parse().unwrap();
    for k in 0..n {
        let model = if k % 3 == 0 { "dtmi:a;1" } else { "dtmi:b;1" };
        let mut twin = Twin::new(id(k), model.parse().unwrap(), Timestamp::UNIX_EPOCH);
        twin.content.set("name", json!((k % 4).to_string()), Timestamp::UNIX_EPOCH);
        twin.content.set("own", json!(k.to_string()), Timestamp::UNIX_EPOCH);
        twin.content.set("level", json!(k % 2), Timestamp::UNIX_EPOCH);
        graph.apply(GraphChange::PutTwin(Box::new(twin)));
        graph.apply(GraphChange::PutRelationship(Box::new(Relationship {
            id: format!("r{}", k % 2).parse().unwrap(),
            source: id(k),
            name: "next".to_owned(),
            target: id((k + 1) % n),
            etag: ETag::fresh(),
            properties: Map::new(),
        })));
    }
    graph
}

fn ground<'g>(graph: &'g Graph, models: &'g Models) -> Ground<'g> {
    Ground { graph, models, version: ApiVersion::LATEST }
}

#[test]
fn what_an_index_answers_is_found_without_looking_at_everything() {
    let (graph, models) = (graph(1_000), Models::default());
    for (query, rows, examined) in [
        ("SELECT * FROM DIGITALTWINS WHERE own = '7'", 1, 1),
        ("SELECT * FROM DIGITALTWINS T WHERE T.name = '3' AND T.own = '7' AND T.level = 1", 1, 1),
        ("SELECT * FROM DIGITALTWINS WHERE IS_OF_MODEL('dtmi:b;1') AND own IN ['7', '8', '9']", 2, 3),
        ("SELECT * FROM DIGITALTWINS WHERE own = '7' OR $dtId = '8' OR own = 'none'", 2, 2),
        ("SELECT * FROM RELATIONSHIPS WHERE $sourceId = '7'", 1, 1),
        ("SELECT * FROM RELATIONSHIPS WHERE $targetId IN ['7', '9'] AND $relationshipName = 'next'", 2, 2),
        ("SELECT COUNT() FROM DIGITALTWINS WHERE level = 1", 1, 1_000),
    ] {
        let page = begin(query, ground(&graph, &models), 100).unwrap();
        assert_eq!((page.rows.len(), page.examined), (rows, examined), "{query}");
    }
}

/// Conditions about [`graph`], with many that indexes answer.
fn answered() -> impl Strategy<Value = Condition> {
    let name = prop::sample::select(vec!["name", "own", "level", "$dtId", "$sourceId", "$targetId", "none"]);
    let path = name.prop_map(|name| Path(vec![name.to_owned()]));
    let value = || {
        prop_oneof![
            (0..6_i64).prop_map(|n| Literal::String(n.to_string())),
            (0..2_i64).prop_map(|n| Literal::Number(n.into())),
        ]
    };
    let comparison = prop::sample::select(vec![Comparison::Equal, Comparison::Equal, Comparison::NotEqual]);
    let leaf =
        prop_oneof![
            (path.clone(), comparison, value()).prop_map(|(path, comparison, value)| Condition::Compare(
                Operand::Path(path),
                comparison,
                Operand::Literal(value)
            )),
            (path, any::<bool>(), prop::collection::vec(value(), 1..4))
                .prop_map(|(path, negated, list)| Condition::In { operand: Operand::Path(path), negated, list }),
            (prop::sample::select(vec!["dtmi:a;1", "dtmi:b;1", "dtmi:c;1"]), any::<bool>()).prop_map(
                |(model, exact)| { Condition::IsOfModel { alias: None, model: model.parse().unwrap(), exact } }
            ),
        ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Condition::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Condition::Or),
            inner.prop_map(|inner| Condition::Not(Box::new(inner))),
        ]
    })
}

fn matching<R: Record>(records: impl Iterator<Item = R>, condition: &Condition, models: &Models) -> Vec<Value> {
    let matching = records.filter(|record| evaluate::holds(condition, record, models) == Some(true));
    matching.map(|record| record.value(&[], ApiVersion::LATEST).unwrap()).collect()
}

proptest! {
    #[test]
    fn indexes_change_no_answer(condition in answered()) {
        let (graph, models) = (graph(12), Models::default());
        let rows = |collection| {
            let scan = Scan { collection, rows: Rows::Whole, limit: None, filter: Some(condition.clone()) };
            find(&Plan::Scan(scan), ground(&graph, &models), None, 100, 0).unwrap().rows
        };
        let twins = graph.twins().values();
        prop_assert_eq!(rows(Collection::Twins), matching(twins, &condition, &models), "{}", condition);
        let relationships = graph.relationships().values().flat_map(|siblings| siblings.values());
        prop_assert_eq!(rows(Collection::Relationships), matching(relationships, &condition, &models), "{}", condition);
    }
}
