"""Queries: query_twins."""

import pytest
from azure.core.exceptions import HttpResponseError

from digital_twins.instance import code_of, eventually


def ids(rows):
    return sorted(row["$dtId"] for row in rows)


@pytest.fixture
def house(client, models, rooms):
    """A hall that leads to a kitchen and a cellar, and the cellar to a vault."""
    for name, temperature in (("hall", 20), ("kitchen", 22.5), ("cellar", 12), ("vault", 9)):
        rooms.make(name, Name=name, Temperature=temperature, Tags={"house": rooms.id_of("house")})
    for source, target in (("hall", "kitchen"), ("hall", "cellar"), ("cellar", "vault")):
        rooms.join(source, f"to_{target}", target, locked=target == "vault")
    all_rooms = sorted(rooms.id_of(name) for name in ("hall", "kitchen", "cellar", "vault"))
    eventually(lambda: ids(client.query_twins(f"SELECT * FROM DIGITALTWINS WHERE {mine(rooms)}")), all_rooms)
    edges = f"SELECT * FROM RELATIONSHIPS R WHERE R.$sourceId IN ['{rooms.id_of('hall')}', '{rooms.id_of('cellar')}']"
    eventually(lambda: len(list(client.query_twins(edges))), 3)
    return rooms


def mine(rooms):
    return f"Tags.house = '{rooms.id_of('house')}'"


def test_conditions_select_twins(client, models, house):
    for condition, names in (
        ("Temperature > 15", ["hall", "kitchen"]),
        ("Temperature <= 12 AND NOT Name = 'vault'", ["cellar"]),
        ("Name IN ['hall', 'vault', 'attic']", ["hall", "vault"]),
        ("STARTSWITH(Name, 'k') OR ENDSWITH(Name, 't')", ["kitchen", "vault"]),
        ("CONTAINS($dtId, 'cell')", ["cellar"]),
        (f"IS_OF_MODEL('{models.place}')", ["cellar", "hall", "kitchen", "vault"]),
        (f"IS_OF_MODEL('{models.place}', exact)", []),
        ("IS_DEFINED(Sensor.Reading)", []),
        ("IS_STRING(Name) AND IS_NUMBER(Temperature)", ["cellar", "hall", "kitchen", "vault"]),
    ):
        rows = client.query_twins(f"SELECT * FROM DIGITALTWINS WHERE {mine(house)} AND ({condition})")
        assert ids(rows) == sorted(house.id_of(name) for name in names), condition


def test_rows_are_what_is_selected(client, house):
    one = f"{mine(house).replace('Tags', 'T.Tags')} AND T.Name = 'hall'"
    assert list(client.query_twins(f"SELECT COUNT() FROM DIGITALTWINS WHERE {mine(house)}")) == [{"COUNT": 4}]
    rows = list(client.query_twins(f"SELECT T.Name, T.Temperature AS warmth FROM DIGITALTWINS T WHERE {one}"))
    assert rows == [{"Name": "hall", "warmth": 20}]
    assert len(list(client.query_twins(f"SELECT TOP(2) FROM DIGITALTWINS T WHERE {mine(house)}"))) == 2
    (row,) = client.query_twins(f"SELECT T FROM DIGITALTWINS T WHERE {one}")
    assert row["T"] == client.get_digital_twin(house.id_of("hall"))


def test_relationships_are_followed(client, house):
    hall = house.id_of("hall")
    joined = client.query_twins(
        "SELECT B.Name, R.locked FROM DIGITALTWINS A JOIN B RELATED A.leadsTo R "
        f"WHERE A.$dtId = '{hall}'"
    )
    assert sorted(joined, key=lambda row: row["Name"]) == [
        {"Name": "cellar", "locked": False},
        {"Name": "kitchen", "locked": False},
    ]
    matched = client.query_twins(
        f"SELECT B.Name FROM DIGITALTWINS MATCH (A)-[:leadsTo*..2]->(B) WHERE A.$dtId = '{hall}'"
    )
    assert sorted(row["Name"] for row in matched) == ["cellar", "kitchen", "vault"]
    (edge,) = client.query_twins(f"SELECT * FROM RELATIONSHIPS R WHERE R.$sourceId = '{hall}' AND R.locked = false "
                                 f"AND R.$targetId = '{house.id_of('cellar')}'")
    assert edge == client.get_relationship(hall, "to_cellar")


def test_results_go_over_all_pages(client, house):
    query = f"SELECT * FROM DIGITALTWINS WHERE {mine(house)}"
    pages = [list(page) for page in client.query_twins(query, headers={"max-items-per-page": "3"}).by_page()]
    assert [len(page) for page in pages] == [3, 1]
    assert ids(row for page in pages for row in page) == ids(client.query_twins(query))


def test_a_query_has_a_charge(client, house):
    charges = []
    keep = lambda response: charges.append(response.http_response.headers["query-charge"])
    list(client.query_twins("SELECT COUNT() FROM DIGITALTWINS", raw_response_hook=keep))
    assert len(charges) == 1 and float(charges[0]) > 0


@pytest.mark.parametrize("query", ["foo", "SELECT * FROM twins", "SELECT * FROM DIGITALTWINS WHERE", "SELECT * FROM "
                                   "DIGITALTWINS WHERE Name = 'it's'"])
def test_a_query_that_cannot_be_read_is_refused(client, query):
    with pytest.raises(HttpResponseError) as caught:
        list(client.query_twins(query))
    assert code_of(caught) == (400, "SqlQueryError")
    assert "Line=1" in caught.value.error.message
