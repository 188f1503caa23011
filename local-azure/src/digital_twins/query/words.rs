//! Words with a meaning of their own.

/// Azure Digital Twins query language: reserved keywords. As names they need `[[ ]]`.
const RESERVED: [&str; 38] = [
    "ALL",
    "AND",
    "AS",
    "ASC",
    "AVG",
    "BY",
    "COUNT",
    "DESC",
    "DEVICES_JOBS",
    "DEVICES_MODULES",
    "DEVICES",
    "ENDS_WITH",
    "FALSE",
    "FROM",
    "GROUP",
    "IN",
    "IS_BOOL",
    "IS_DEFINED",
    "IS_NULL",
    "IS_NUMBER",
    "IS_OBJECT",
    "IS_PRIMITIVE",
    "IS_STRING",
    "MAX",
    "MIN",
    "NOT",
    "NOT_IN",
    "NULL",
    "OR",
    "ORDER",
    "SELECT",
    "STARTS_WITH",
    "SUM",
    "TOP",
    "TRUE",
    "WHERE",
    "IS_OF_MODEL",
    "NIN",
];

/// Words that begin a clause behind the source: no alias without `[[ ]]`.
const CLAUSES: [&str; 3] = ["JOIN", "MATCH", "RELATED"];

/// Whether the text is no name without `[[ ]]`.
pub(super) fn is_reserved(text: &str) -> bool {
    is_one_of(&RESERVED, text)
}

/// Whether the text is no alias without `[[ ]]`.
pub(super) fn is_word(text: &str) -> bool {
    is_reserved(text) || is_one_of(&CLAUSES, text)
}

fn is_one_of(words: &[&str], text: &str) -> bool {
    words.iter().any(|word| word.eq_ignore_ascii_case(text))
}
