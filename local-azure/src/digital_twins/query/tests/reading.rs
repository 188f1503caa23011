//! Reading queries: trees, and texts of errors.

use insta::assert_debug_snapshot;

use crate::digital_twins::query::{parser::parse, plan};

#[test]
fn a_query_becomes_a_tree() {
    let query = "select T.a.$dtId as x from digitaltwins T \
                 where not (T.[[GROUP]] in ['it\\'s', -1.5] or is_of_model(T, 'dtmi:a;1', exact)) and b >= 2";
    assert_debug_snapshot!(parse(query), @r#"
    Ok(
        Query {
            select: Items(
                [
                    Item {
                        path: Path(
                            [
                                "T",
                                "a",
                                "$dtId",
                            ],
                        ),
                        name: Some(
                            "x",
                        ),
                    },
                ],
            ),
            from: Source {
                collection: Twins,
                alias: Some(
                    "T",
                ),
            },
            clauses: [],
            filter: Some(
                And(
                    [
                        Not(
                            Or(
                                [
                                    In {
                                        operand: Path(
                                            Path(
                                                [
                                                    "T",
                                                    "GROUP",
                                                ],
                                            ),
                                        ),
                                        negated: false,
                                        list: [
                                            String(
                                                "it's",
                                            ),
                                            Number(
                                                Number(-1.5),
                                            ),
                                        ],
                                    },
                                    IsOfModel {
                                        alias: Some(
                                            "T",
                                        ),
                                        model: "dtmi:a;1",
                                        exact: true,
                                    },
                                ],
                            ),
                        ),
                        Compare(
                            Path(
                                Path(
                                    [
                                        "b",
                                    ],
                                ),
                            ),
                            GreaterOrEqual,
                            Literal(
                                Number(
                                    Number(2),
                                ),
                            ),
                        ),
                    ],
                ),
            ),
        },
    )
    "#);
}

#[test]
fn join_and_match_become_clauses() {
    let query = "select B, r from digitaltwins A join B related A.contains r \
                 match (B)<-[has|includes*..3]-(C)-[:[[in]]*1..3]->(D)-[s]-(A) where A.$dtId = 'x'";
    assert_debug_snapshot!(parse(query).map(|query| query.clauses), @r#"
    Ok(
        [
            Join(
                Join {
                    target: "B",
                    source: "A",
                    relationship: "contains",
                    alias: Some(
                        "r",
                    ),
                },
            ),
            Match(
                Pattern {
                    first: "B",
                    links: [
                        Link {
                            direction: Backward,
                            reach: UpTo(
                                3,
                            ),
                            names: [
                                "has",
                                "includes",
                            ],
                            twin: "C",
                        },
                        Link {
                            direction: Forward,
                            reach: Between {
                                over: 1,
                                up_to: 3,
                            },
                            names: [
                                "in",
                            ],
                            twin: "D",
                        },
                        Link {
                            direction: Either,
                            reach: One(
                                Some(
                                    "s",
                                ),
                            ),
                            names: [],
                            twin: "A",
                        },
                    ],
                },
            ),
        ],
    )
    "#);
}

#[test]
fn what_is_written_shorter_reads_the_same() {
    for (query, full) in [
        ("SELECT COUNT() FROM DIGITALTWINS", "SELECT COUNT() FROM DIGITALTWINS"),
        ("select top(5) from relationships r", "SELECT TOP(5) FROM RELATIONSHIPS r"),
        ("SELECT TOP (5) a,b FROM DIGITALTWINS", "SELECT TOP(5) a, b FROM DIGITALTWINS"),
        ("SELECT * FROM DIGITALTWINS WHERE ((a=1))", "SELECT * FROM DIGITALTWINS WHERE a = 1"),
        ("SELECT * FROM DIGITALTWINS WHERE a NOT IN [1]", "SELECT * FROM DIGITALTWINS WHERE a NIN [1]"),
        (
            "SELECT * FROM DIGITALTWINS WHERE a=1 AND b=2 OR c=3",
            "SELECT * FROM DIGITALTWINS WHERE (a = 1 AND b = 2) OR c = 3",
        ),
        ("SELECT * FROM DIGITALTWINS WHERE NOT a=1 AND b=2", "SELECT * FROM DIGITALTWINS WHERE NOT a = 1 AND b = 2"),
        (
            "SELECT * FROM DIGITALTWINS WHERE is_bool([[a]]) and [[top]]=true",
            "SELECT * FROM DIGITALTWINS WHERE IS_BOOL(a) AND [[top]] = TRUE",
        ),
        (
            "SELECT * FROM DIGITALTWINS WHERE ARRAY_CONTAINS(a, 'b') AND contains(a, '\\\\')",
            "SELECT * FROM DIGITALTWINS WHERE ARRAY_CONTAINS(a, 'b') AND CONTAINS(a, '\\\\')",
        ),
        (
            "select a from digitaltwins match(a)-[r:x|y]->(b)<-[*..2]-(c)",
            "SELECT a FROM DIGITALTWINS MATCH (a)-[r:x|y]->(b)<-[*..2]-(c)",
        ),
        (
            "SELECT a FROM DIGITALTWINS MATCH (a) - [x|y * 1 .. 3] - (b)",
            "SELECT a FROM DIGITALTWINS MATCH (a)-[:x|y*1..3]-(b)",
        ),
        ("SELECT * FROM DIGITALTWINS WHERE a<-1", "SELECT * FROM DIGITALTWINS WHERE a < -1"),
        ("SELECT * FROM DIGITALTWINS\nWHERE\t1 < a", "SELECT * FROM DIGITALTWINS WHERE 1 < a"),
    ] {
        assert_eq!(parse(query).map(|query| query.to_string()).as_deref(), Ok(full), "{query}");
    }
}

#[test]
fn errors_say_where_and_what() {
    let deep = format!("SELECT * FROM DIGITALTWINS WHERE {}", "NOT ".repeat(65));
    let many = format!("SELECT * FROM DIGITALTWINS WHERE a=1{}", " OR a=1".repeat(51));
    let list = format!("SELECT * FROM DIGITALTWINS WHERE a IN [1{}]", ",1".repeat(50));
    let long = format!("SELECT * FROM DIGITALTWINS WHERE a='{}'", "x".repeat(8_000));
    let errors: Vec<String> = [
        "foo",
        "",
        "SELECT",
        "SELECT * DIGITALTWINS",
        "SELECT * FROM twins",
        "SELECT * FROM DIGITALTWINS T WHERE",
        "SELECT * FROM DIGITALTWINS T T",
        "SELECT * FROM DIGITALTWINS T\n WHERE T.a = = 1",
        "SELECT * FROM DIGITALTWINS WHERE a",
        "SELECT * FROM DIGITALTWINS WHERE group = 1",
        "SELECT * FROM DIGITALTWINS WHERE (a = 1",
        "SELECT * FROM DIGITALTWINS WHERE a IN []",
        "SELECT * FROM DIGITALTWINS WHERE a = 1 ORDER BY a",
        "SELECT * FROM DIGITALTWINS WHERE a = 1e999",
        "SELECT * FROM DIGITALTWINS WHERE a = 'x",
        "SELECT * FROM DIGITALTWINS WHERE a # 1",
        "SELECT * FROM DIGITALTWINS WHERE LOWER(a) = 'x'",
        "SELECT * FROM DIGITALTWINS WHERE IS_OF_MODEL('room')",
        "SELECT * FROM DIGITALTWINS WHERE IS_OF_MODEL('dtmi:a;1', nearly)",
        "SELECT * FROM DIGITALTWINS T WHERE IS_OF_MODEL(S, 'dtmi:a;1')",
        "SELECT * FROM RELATIONSHIPS WHERE IS_OF_MODEL('dtmi:a;1')",
        "SELECT T, C FROM DIGITALTWINS T JOIN C RELATED T.contains",
        "SELECT T, C FROM DIGITALTWINS T JOIN C RELATED T.contains WHERE C.name = 'x' OR T.$dtId = 'x'",
        "SELECT * FROM DIGITALTWINS T JOIN C RELATED T.contains WHERE T.$dtId = 'x'",
        "SELECT T FROM DIGITALTWINS T JOIN C T.contains",
        "SELECT T FROM DIGITALTWINS T JOIN C RELATED contains",
        "SELECT T FROM DIGITALTWINS T\nJOIN C RELATED S.contains",
        "SELECT T FROM DIGITALTWINS T JOIN T RELATED T.contains",
        "SELECT T FROM DIGITALTWINS T JOIN C RELATED T.contains R JOIN D RELATED R.contains",
        "SELECT D FROM DIGITALTWINS T JOIN C RELATED T.contains WHERE T.$dtId = 'x'",
        "SELECT T FROM DIGITALTWINS T JOIN C RELATED T.contains WHERE T.$dtId = 'x' AND name = 'y'",
        "SELECT T FROM DIGITALTWINS T JOIN C RELATED T.contains WHERE T.$dtId = 'x' AND IS_OF_MODEL('dtmi:a;1')",
        "SELECT T FROM RELATIONSHIPS T JOIN C RELATED T.contains",
        "SELECT A FROM DIGITALTWINS A JOIN B RELATED A.r JOIN C RELATED B.r JOIN D RELATED C.r JOIN E RELATED D.r \
         JOIN F RELATED E.r JOIN G RELATED F.r",
        "SELECT T FROM DIGITALTWINS MATCH (T)-[]-(C)",
        "SELECT T FROM DIGITALTWINS T MATCH (A)-[]-(B) WHERE T.$dtId = 'x'",
        "SELECT A FROM DIGITALTWINS MATCH (A) MATCH (A)",
        "SELECT A FROM DIGITALTWINS MATCH ()",
        "SELECT A FROM DIGITALTWINS MATCH (A)--(B)",
        "SELECT A FROM DIGITALTWINS MATCH (A)<-[]->(B)",
        "SELECT A FROM DIGITALTWINS MATCH (A)-[*]-(B)",
        "SELECT A FROM DIGITALTWINS MATCH (A)-[*0]-(B)",
        "SELECT A FROM DIGITALTWINS MATCH (A)-[*2..]-(B)",
        "SELECT A FROM DIGITALTWINS MATCH (A)-[*2..2]-(B)",
        "SELECT A FROM DIGITALTWINS MATCH (A)-[*..11]-(B)",
        "SELECT A FROM DIGITALTWINS MATCH (A)-[*6]-(B)-[*5]-(C)",
        "SELECT A FROM DIGITALTWINS MATCH (A)-[r*2]-(B)",
        "SELECT A FROM DIGITALTWINS MATCH (A)-[A]-(B) WHERE A.$dtId = 'x'",
        "SELECT TOP(-1) FROM DIGITALTWINS",
        &deep,
        &many,
        &list,
        &long,
    ]
    .iter()
    .map(|query| plan(query).unwrap_err().to_string())
    .collect();
    assert_debug_snapshot!(errors, @r#"
    [
        "SQL Parser Error, Line=1, Position=0, Message=missing SELECT at 'foo'",
        "SQL Parser Error, Line=1, Position=0, Message=missing SELECT at '<EOF>'",
        "SQL Parser Error, Line=1, Position=6, Message=mismatched input '<EOF>' expecting a name",
        "SQL Parser Error, Line=1, Position=9, Message=mismatched input 'DIGITALTWINS' expecting FROM",
        "SQL Parser Error, Line=1, Position=14, Message=mismatched input 'twins' expecting DIGITALTWINS or RELATIONSHIPS",
        "SQL Parser Error, Line=1, Position=34, Message=mismatched input '<EOF>' expecting a value",
        "SQL Parser Error, Line=1, Position=29, Message=extraneous input 'T' expecting <EOF>",
        "SQL Parser Error, Line=2, Position=13, Message=mismatched input '=' expecting a value",
        "SQL Parser Error, Line=1, Position=34, Message=mismatched input '<EOF>' expecting a comparison",
        "SQL Parser Error, Line=1, Position=33, Message='group' is a reserved word: as a name, write [[group]]",
        "SQL Parser Error, Line=1, Position=39, Message=mismatched input '<EOF>' expecting ')'",
        "SQL Parser Error, Line=1, Position=39, Message=mismatched input ']' expecting a value",
        "SQL Parser Error, Line=1, Position=39, Message=extraneous input 'ORDER' expecting <EOF>",
        "SQL Parser Error, Line=1, Position=37, Message=mismatched input '1e999' expecting a value",
        "SQL Parser Error, Line=1, Position=37, Message=a string has no closing quote",
        "SQL Parser Error, Line=1, Position=35, Message=token recognition error at: '#'",
        "SQL Parser Error, Line=1, Position=33, Message='LOWER' is no function that can stand here",
        "SQL Parser Error, Line=1, Position=45, Message='room' is no model id",
        "SQL Parser Error, Line=1, Position=57, Message=mismatched input 'nearly' expecting EXACT",
        "SQL Parser Error, Line=1, Position=47, Message='S' is no alias of this query",
        "SQL Parser Error, Line=1, Position=34, Message=IS_OF_MODEL tests twins, not relationships",
        "SQL Parser Error, Line=1, Position=32, Message=with JOIN, WHERE says which $dtId (= or IN) one of the twins has",
        "SQL Parser Error, Line=1, Position=32, Message=with JOIN, WHERE says which $dtId (= or IN) one of the twins has",
        "SQL Parser Error, Line=1, Position=29, Message=with JOIN, SELECT names what it wants",
        "SQL Parser Error, Line=1, Position=36, Message=mismatched input 'T' expecting RELATED",
        "SQL Parser Error, Line=1, Position=52, Message=mismatched input '<EOF>' expecting '.'",
        "SQL Parser Error, Line=2, Position=15, Message='S' is no alias of this query",
        "SQL Parser Error, Line=1, Position=7, Message='T' is declared twice",
        "SQL Parser Error, Line=1, Position=55, Message='R' is a relationship, not a twin",
        "SQL Parser Error, Line=1, Position=7, Message='D' is no alias of this query",
        "SQL Parser Error, Line=1, Position=79, Message='name' is no alias of this query",
        "SQL Parser Error, Line=1, Position=79, Message=with JOIN or MATCH, IS_OF_MODEL names the twin that it tests",
        "SQL Parser Error, Line=1, Position=30, Message=JOIN goes on from DIGITALTWINS, not from RELATIONSHIPS",
        "SQL Parser Error, Line=1, Position=124, Message=a query has at most 5 JOIN",
        "SQL Parser Error, Line=1, Position=27, Message=with MATCH, WHERE says which $dtId (= or IN) one of the twins has",
        "SQL Parser Error, Line=1, Position=29, Message=no twin of the MATCH stands before it",
        "SQL Parser Error, Line=1, Position=37, Message=a query has at most one MATCH",
        "SQL Parser Error, Line=1, Position=34, Message=mismatched input ')' expecting a name",
        "SQL Parser Error, Line=1, Position=37, Message=mismatched input '-' expecting '['",
        "SQL Parser Error, Line=1, Position=41, Message=mismatched input '>' expecting '('",
        "SQL Parser Error, Line=1, Position=39, Message=mismatched input ']' expecting a number of hops",
        "SQL Parser Error, Line=1, Position=39, Message=mismatched input '0' expecting a number of hops",
        "SQL Parser Error, Line=1, Position=42, Message=mismatched input ']' expecting a number of hops",
        "SQL Parser Error, Line=1, Position=42, Message=more than 2 and at most 2 hops are none",
        "SQL Parser Error, Line=1, Position=41, Message=a query has at most 10 hops",
        "SQL Parser Error, Line=1, Position=48, Message=a query has at most 10 hops",
        "SQL Parser Error, Line=1, Position=39, Message=a link of several hops has no relationship to call 'r'",
        "SQL Parser Error, Line=1, Position=7, Message='A' is declared twice",
        "SQL Parser Error, Line=1, Position=11, Message=mismatched input '-1' expecting a number of rows",
        "SQL Parser Error, Line=1, Position=293, Message=conditions are nested deeper than 64",
        "SQL Parser Error, Line=1, Position=387, Message=a query has at most 50 AND and OR",
        "SQL Parser Error, Line=1, Position=139, Message=a list has at most 50 items",
        "SQL Parser Error, Line=1, Position=0, Message=a query has at most 8000 characters",
    ]
    "#);
}
