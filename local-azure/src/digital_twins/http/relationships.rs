//! `/digitaltwins/{id}/relationships` and `/digitaltwins/{id}/incomingrelationships`.

use serde::Serialize;

use super::{
    reply::{LinkFirst, Reply},
    request::Request,
};
use crate::digital_twins::{
    DigitalTwins,
    error::Error,
    id::{RelationshipId, TwinId},
    operations::IncomingRelationship,
};

pub(super) fn get(service: &DigitalTwins, twin: &str, id: &str) -> Result<Reply, Error> {
    service.with_relationship(&twin.parse()?, &id.parse()?, |relationship| {
        Reply::ok(&relationship.wire()).with_etag(&relationship.etag)
    })
}

pub(super) fn add(service: &DigitalTwins, twin: &str, id: &str, request: &Request) -> Result<Reply, Error> {
    let body = request.json(Error::InvalidRelationshipBody)?;
    let relationship = service.put_relationship(&twin.parse()?, &id.parse()?, body, request.put()?)?;
    Ok(Reply::ok(&relationship.wire()).with_etag(&relationship.etag))
}

pub(super) fn update(service: &DigitalTwins, twin: &str, id: &str, request: &Request) -> Result<Reply, Error> {
    let operations = request.patch()?;
    let etag = service.patch_relationship(&twin.parse()?, &id.parse()?, &operations, &request.if_match())?;
    Ok(Reply::no_content().with_etag(&etag))
}

pub(super) fn delete(service: &DigitalTwins, twin: &str, id: &str, request: &Request) -> Result<Reply, Error> {
    service.delete_relationship(&twin.parse()?, &id.parse()?, &request.if_match())?;
    Ok(Reply::no_content())
}

pub(super) fn list(service: &DigitalTwins, twin: &str, request: &Request) -> Result<Reply, Error> {
    let id: TwinId = twin.parse()?;
    let name = request.argument("relationshipName").filter(|name| !name.is_empty());
    let after = request.argument("continuationToken").map(|token| after_outgoing(token, &id)).transpose()?;
    let page = service.list_relationships(&id, name, after.as_ref())?;
    let next_link = page.last.map(|(last, _)| {
        let token = format!("{last}_{id}");
        let name = name.map(|name| ("relationshipName", name));
        let arguments: Vec<_> = name.into_iter().chain([("continuationToken", token.as_str())]).collect();
        request.link(&["digitaltwins", twin, "relationships"], &arguments)
    });
    let value = page.relationships.iter().map(|relationship| relationship.wire()).collect();
    Ok(Reply::ok(&LinkFirst { next_link, value }))
}

/// The token of a list is the id of its last relationship and that of the twin, as recorded.
fn after_outgoing(token: &str, twin: &TwinId) -> Result<RelationshipId, Error> {
    let id = token.strip_suffix(twin.as_str()).and_then(|rest| rest.strip_suffix('_'));
    id.and_then(|id| id.parse().ok()).ok_or(Error::InvalidToken)
}

#[derive(Serialize)]
struct WithLink {
    #[serde(flatten)]
    relationship: IncomingRelationship,
    #[serde(rename = "$relationshipLink")]
    link: String,
}

pub(super) fn list_incoming(service: &DigitalTwins, twin: &str, request: &Request) -> Result<Reply, Error> {
    let after = request.argument("continuationToken").map(after_incoming).transpose()?;
    let page = service.list_incoming_relationships(&twin.parse()?, after.as_ref())?;
    let next_link = page.last.map(|(id, source)| {
        let token = incoming_token(&id, &source);
        request.link(&["digitaltwins", twin, "incomingrelationships"], &[("continuationToken", &token)])
    });
    let with_link = |relationship: IncomingRelationship| {
        let (source, id) = (relationship.source.as_str(), relationship.id.as_str());
        let link = request.link(&["digitaltwins", source, "relationships", id], &[]);
        WithLink { relationship, link }
    };
    let value = page.relationships.into_iter().map(with_link).collect();
    Ok(Reply::ok(&LinkFirst { next_link, value }))
}

/// The token of an incoming list is the last relationship's id and its source, as recorded. Where underscores in the
/// ids leave open which is which, the length of the first stands behind them.
fn incoming_token(id: &RelationshipId, source: &TwinId) -> String {
    let token = format!("{id}_{source}");
    if token.matches('_').count() > 1 { format!("{token}_{}", id.as_str().len()) } else { token }
}

fn after_incoming(token: &str) -> Result<(RelationshipId, TwinId), Error> {
    let split = |token: &str, at: usize| {
        let (id, source) = token.split_at_checked(at)?;
        Some((id.parse().ok()?, source.strip_prefix('_')?.parse().ok()?))
    };
    let parts = if token.matches('_').count() > 1 {
        token.rsplit_once('_').and_then(|(token, length)| split(token, length.parse().ok()?))
    } else {
        token.find('_').and_then(|at| split(token, at))
    };
    parts.ok_or(Error::InvalidToken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_incoming_lists_keep_ids_with_underscores_apart() {
        for (id, source, token) in
            [("r", "t", "r_t"), ("r_1", "t", "r_1_t_3"), ("r", "t_1", "r_t_1_1"), ("_", "_", "____1")]
        {
            let (id, source) = (id.parse().unwrap(), source.parse().unwrap());
            assert_eq!(incoming_token(&id, &source), token);
            assert_eq!(after_incoming(token), Ok((id, source)));
        }
        for token in ["", "r", "_", "r_", "_t", "a_b_c", "a_b_99", "\u{e4}_b_1"] {
            assert_eq!(after_incoming(token), Err(Error::InvalidToken), "{token}");
        }
    }
}
