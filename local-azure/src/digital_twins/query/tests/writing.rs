//! Any query reads back from its text, and any text is safe to read.

use dtdl::ModelId;
use proptest::prelude::*;
use serde_json::Number;

use crate::digital_twins::query::{
    ast::{
        Clause, Collection, Comparison, Condition, Direction, Item, Join, Kind, Link, Literal, Operand, Path, Pattern,
        Query, Reach, Select, Source, TextTest,
    },
    parser::parse,
    plan,
};

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-zA-Z_$][a-zA-Z0-9_$]{0,6}",
        prop::sample::select(vec!["group", "TOP", "where", "join", "exact", "in"]).prop_map(str::to_owned),
        "[a-z -]{1,4}",
    ]
}

fn path() -> impl Strategy<Value = Path> {
    prop::collection::vec(name(), 1..4).prop_map(Path)
}

fn literal() -> impl Strategy<Value = Literal> {
    prop_oneof![
        Just(Literal::Null),
        any::<bool>().prop_map(Literal::Bool),
        any::<i64>().prop_map(|number| Literal::Number(number.into())),
        any::<u64>().prop_map(|number| Literal::Number(number.into())),
        any::<f64>().prop_filter_map("finite", |number| Number::from_f64(number).map(Literal::Number)),
        "[a'\\\\ \u{e4}\n]{0,6}".prop_map(Literal::String),
    ]
}

fn operand() -> impl Strategy<Value = Operand> {
    prop_oneof![path().prop_map(Operand::Path), literal().prop_map(Operand::Literal)]
}

fn model() -> impl Strategy<Value = ModelId> {
    "dtmi:[a-z]{1,5}:[A-Z][a-z]{0,5};[1-9]".prop_map(|id| id.parse().unwrap())
}

fn leaf() -> impl Strategy<Value = Condition> {
    prop_oneof![
        (operand(), prop::sample::select(Comparison::ALL.to_vec()), operand())
            .prop_map(|(left, comparison, right)| Condition::Compare(left, comparison, right)),
        (operand(), any::<bool>(), prop::collection::vec(literal(), 1..4))
            .prop_map(|(operand, negated, list)| Condition::In { operand, negated, list }),
        (prop::option::of(name()), model(), any::<bool>()).prop_map(|(alias, model, exact)| Condition::IsOfModel {
            alias,
            model,
            exact
        }),
        (prop::sample::select(Kind::ALL.to_vec()), path()).prop_map(|(kind, path)| Condition::Is(kind, path)),
        (prop::sample::select(TextTest::ALL.to_vec()), operand(), operand())
            .prop_map(|(test, text, part)| Condition::Text(test, text, part)),
        (path(), literal()).prop_map(|(path, value)| Condition::ArrayContains(path, value)),
    ]
}

fn condition() -> impl Strategy<Value = Condition> {
    leaf().prop_recursive(4, 24, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 2..4).prop_map(Condition::And),
            prop::collection::vec(inner.clone(), 2..4).prop_map(Condition::Or),
            inner.prop_map(|inner| Condition::Not(Box::new(inner))),
        ]
    })
}

fn select() -> impl Strategy<Value = Select> {
    let items = || {
        let item = (path(), prop::option::of(name())).prop_map(|(path, name)| Item { path, name });
        prop::collection::vec(item, 1..4)
    };
    prop_oneof![
        Just(Select::All),
        Just(Select::Count),
        items().prop_map(Select::Items),
        (any::<u64>(), prop_oneof![Just(Vec::new()), items()]).prop_map(|(count, items)| Select::Top(count, items)),
    ]
}

fn query() -> impl Strategy<Value = Query> {
    let collection = prop::sample::select(vec![Collection::Twins, Collection::Relationships]);
    let source = (collection, prop::option::of(name())).prop_map(|(collection, alias)| Source { collection, alias });
    (select(), source, clauses(), prop::option::of(condition())).prop_map(|(select, from, clauses, filter)| {
        let clauses = if from.collection == Collection::Twins { clauses } else { Vec::new() };
        Query { select, from, clauses, filter }
    })
}

/// Up to two JOINs and a MATCH, in any order.
fn clauses() -> impl Strategy<Value = Vec<Clause>> {
    let join = (name(), name(), name(), prop::option::of(name()))
        .prop_map(|(target, source, relationship, alias)| Clause::Join(Join { target, source, relationship, alias }));
    (prop::collection::vec(join, 0..3), prop::option::of(pattern()), any::<prop::sample::Index>()).prop_map(
        |(mut clauses, pattern, place)| {
            if let Some(pattern) = pattern {
                clauses.insert(place.index(clauses.len() + 1), Clause::Match(pattern));
            }
            clauses
        },
    )
}

fn pattern() -> impl Strategy<Value = Pattern> {
    let reach = prop_oneof![
        prop::option::of(name()).prop_map(Reach::One),
        (1..=3_usize).prop_map(Reach::Exactly),
        (0..3_usize).prop_map(|over| Reach::Between { over, up_to: 3 }),
        (1..=3_usize).prop_map(Reach::UpTo),
    ];
    let direction = prop::sample::select(vec![Direction::Forward, Direction::Backward, Direction::Either]);
    let link = (direction, reach, prop::collection::vec(name(), 0..3), name())
        .prop_map(|(direction, reach, names, twin)| Link { direction, reach, names, twin });
    (name(), prop::collection::vec(link, 0..4)).prop_map(|(first, links)| Pattern { first, links })
}

proptest! {
    #[test]
    fn a_tree_reads_back_from_its_text(query in query()) {
        let text = query.to_string();
        prop_assert_eq!(parse(&text), Ok(query), "{}", text);
    }

    #[test]
    fn any_text_is_read_or_refused(text in "\\PC*") {
        let _ = plan(&text);
    }

    #[test]
    fn any_words_of_the_language_are_read_or_refused(words in prop::collection::vec(prop::sample::select(vec![
        "SELECT", "*", "COUNT", "(", ")", "TOP", "5", "FROM", "DIGITALTWINS", "RELATIONSHIPS", "T", ".", "a", "WHERE",
        "AND", "OR", "NOT", "IN", "NIN", "[", "]", ",", "'x'", "=", "<=", "IS_OF_MODEL", "IS_DEFINED", "EXACT", "AS",
        "[[a]]", "JOIN", "RELATED", "MATCH", "-1.5", "NULL", "TRUE", "\n", "-", ">", "<", ":", "|", "..", "2", "$dtId",
    ]), 0..24)) {
        let _ = plan(&words.join(" "));
        let _ = plan(&format!("SELECT * FROM DIGITALTWINS T WHERE {}", words.join(" ")));
        let _ = plan(&format!("SELECT T FROM DIGITALTWINS T MATCH (T) {}", words.join(" ")));
    }
}
