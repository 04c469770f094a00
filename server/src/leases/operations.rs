//! The operations on tables of leases, within bounds: what `dynoxide` does with a request, less what no lease needs.
//!
//! Streams are a region's, so tables are too: those of the server's own lie in `tables.sqlite`, those of another in
//! `tables-REGION.sqlite`. A file is made with the first table in it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use dynoxide::actions::batch_write_item::BatchWriteItemRequest;
use dynoxide::actions::create_table::{CreateTableRequest, StreamSpecification};
use dynoxide::actions::describe_table::DescribeTableRequest;
use dynoxide::actions::get_item::GetItemRequest;
use dynoxide::actions::put_item::PutItemRequest;
use dynoxide::actions::transact_write_items::TransactWriteItemsRequest;
use dynoxide::actions::update_item::UpdateItemRequest;
use dynoxide::actions::update_table::UpdateTableRequest;
use dynoxide::types::AttributeValue;
use dynoxide::{Database, DynoxideError};
use serde::de::DeserializeOwned;
use serde_json::json;
use wire::name::is_region;

use super::{Answer, TARGET_PREFIX, not_served};

/// Files of other regions than the server's own.
const OTHER_REGIONS_MAX: usize = 32;

/// Tables at once, of all regions. An application of the KCL has one, or three.
const TABLES_MAX: usize = 256;

/// Items in all tables together, and their bytes: an item is a shard, or a worker, and has some hundreds. Past them no item is made,
/// and those that are there may still be changed, as a lease must be that is renewed, until they have so many times the bytes.
const ITEMS_MAX: u64 = 200_000;
const ITEM_BYTES_MAX: u64 = 256 << 20;
const CHANGED_BYTES_TIMES: u64 = 2;

/// Writes between two counts of that, which take a look at every item: so many more may come to be.
const WRITES_A_COUNT: u32 = 64;

/// The file of the server's own region.
const OWN_FILE: &str = "tables.sqlite";

type Outcome = Result<Vec<u8>, DynoxideError>;

/// The tables of all regions.
pub(super) struct Tables {
    folder: PathBuf,
    /// Files that were asked for or counted, by their names. None after it has failed: one that is mended or gone is seen without
    /// a restart.
    open: BTreeMap<String, Database>,
    room: Room,
}

/// What there may be, and what was counted.
struct Room {
    items_max: u64,
    bytes_max: u64,
    items: u64,
    bytes: u64,
    writes_since: u32,
    /// Whether something may have given room back since.
    is_freed: bool,
}

/// What a write may need room for, the least first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Need {
    /// It only removes.
    Nothing,
    /// Items that are there change.
    Change,
    /// There may be more items.
    Items,
}

impl Room {
    fn is_full(&self) -> bool {
        self.items >= self.items_max || self.bytes >= self.bytes_max
    }

    fn has(&self, need: Need) -> bool {
        match need {
            Need::Nothing => true,
            Need::Change => self.bytes < CHANGED_BYTES_TIMES * self.bytes_max,
            Need::Items => false,
        }
    }
}

/// A request that writes.
trait Write {
    fn need(&self, database: &Database) -> Need;
}

impl Write for PutItemRequest {
    fn need(&self, _: &Database) -> Need {
        Need::Items
    }
}

impl Write for UpdateItemRequest {
    fn need(&self, database: &Database) -> Need {
        change(database, &self.table_name, &self.key)
    }
}

impl Write for BatchWriteItemRequest {
    fn need(&self, _: &Database) -> Need {
        let only_removes = self.request_items.values().flatten().all(|write| write.put_request.is_none());
        if only_removes { Need::Nothing } else { Need::Items }
    }
}

impl Write for TransactWriteItemsRequest {
    fn need(&self, database: &Database) -> Need {
        if self.transact_items.iter().any(|write| write.put.is_some()) {
            return Need::Items;
        }
        let updates = self.transact_items.iter().filter_map(|write| write.update.as_ref());
        updates.map(|update| change(database, &update.table_name, &update.key)).max().unwrap_or(Need::Nothing)
    }
}

/// What an update needs, which makes its item where there is none.
fn change(database: &Database, table: &str, key: &HashMap<String, AttributeValue>) -> Need {
    let item = GetItemRequest { table_name: table.to_owned(), key: key.clone(), ..GetItemRequest::default() };
    if database.get_item(item).is_ok_and(|found| found.item.is_some()) { Need::Change } else { Need::Items }
}

impl Tables {
    /// Those in the files of a folder.
    pub(super) fn new(folder: PathBuf) -> Tables {
        let (items_max, bytes_max) = (ITEMS_MAX, ITEM_BYTES_MAX);
        let room = Room { items_max, bytes_max, items: 0, bytes: 0, writes_since: WRITES_A_COUNT, is_freed: false };
        Tables { folder, open: BTreeMap::new(), room }
    }

    /// Carries out what a target names, in a region; that is empty for the server's own.
    pub(super) fn carry_out(&mut self, region: &str, target: &str, body: &[u8]) -> Answer {
        let outcome = file_of(region).and_then(|file| {
            let database = self.opened(&file, target, body)?;
            let outcome = self.run(&database, target, body);
            if matches!(&outcome, Err(error) if error.status_code() >= 500) {
                self.open.remove(&file);
            }
            outcome
        });
        match outcome {
            Ok(body) => Answer { status: 200, body },
            Err(error) if error.status_code() >= 500 => Answer { status: 500, body: self.failure(region, &error) },
            Err(error) => Answer { status: error.status_code(), body: error.to_json().into_bytes() },
        }
    }

    /// The file of that name, if what is to be done needs one: before there are tables in a region none does.
    fn opened(&mut self, file: &str, target: &str, body: &[u8]) -> Result<Database, DynoxideError> {
        if let Some(database) = self.open.get(file) {
            return Ok(database.clone());
        }
        let path = self.folder.join(file);
        let unseen = |error: std::io::Error| DynoxideError::InternalServerError(error.to_string());
        if !path.try_exists().map_err(unseen)? {
            if !target.ends_with(".CreateTable") {
                return Database::memory();
            }
            // Nor does a table that is refused.
            self.run(&Database::memory()?, target, body)?;
            if file != OWN_FILE && self.files().iter().filter(|file| *file != OWN_FILE).count() >= OTHER_REGIONS_MAX {
                return Err(DynoxideError::LimitExceededException(format!(
                    "There are tables of leases in {OTHER_REGIONS_MAX} regions beside the server's own, the most there may be. Those \
                     of one that is not used any more are gone with its file in the data directory, leases/tables-REGION.sqlite; \
                     remove it while the server is stopped."
                )));
            }
        }
        let database = open(&path)?;
        self.open.insert(file.to_owned(), database.clone());
        Ok(database)
    }

    /// The names of all files that there are.
    fn files(&self) -> Vec<String> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let is_file = |name: &String| {
            let region = name.strip_prefix("tables").and_then(|rest| rest.strip_suffix(".sqlite"));
            region.is_some_and(|region| region.is_empty() || region.strip_prefix('-').is_some_and(is_region))
        };
        entries.filter_map(|entry| entry.file_name().into_string().ok()).filter(is_file).collect()
    }

    /// All of them, opened. One that is broken does not grow, and is told of when it is asked for.
    fn all(&mut self) -> impl Iterator<Item = &Database> {
        for file in self.files() {
            if !self.open.contains_key(&file)
                && let Ok(database) = open(&self.folder.join(&file))
            {
                self.open.insert(file, database);
            }
        }
        self.open.values()
    }

    /// What is said when it is not the request's fault.
    fn failure(&self, region: &str, error: &DynoxideError) -> Vec<u8> {
        let path = self.folder.join(file_of(region).unwrap_or_default());
        let path = std::path::absolute(&path).unwrap_or(path);
        let message = format!(
            "The tables of leases can't be used: {error}. They lie in {}; look at the disk's space and health, or put that file, and \
             those beside it, back from a copy. Removed, with the server stopped, they are made anew, and consumers begin where they \
             would without a checkpoint. Streams are not affected.",
            path.display()
        );
        json!({ "__type": "InternalServerError", "message": message }).to_string().into_bytes()
    }

    fn run(&mut self, database: &Database, target: &str, body: &[u8]) -> Outcome {
        /// Reads the request, has it carried out, and writes the answer.
        macro_rules! call {
            ($operation:ident) => {
                written(&database.$operation(read(body)?)?)
            };
        }
        /// The same of what may need room.
        macro_rules! write {
            ($operation:ident) => {{
                let request = read(body)?;
                self.take_room(database, &request)?;
                written(&database.$operation(request)?)
            }};
        }
        let operation = target.strip_prefix(TARGET_PREFIX).unwrap_or_default();
        match operation {
            "BatchGetItem" => call!(batch_get_item),
            "BatchWriteItem" => write!(batch_write_item),
            "CreateTable" => self.create_table(database, read(body)?),
            "DeleteItem" => {
                self.room.is_freed = true;
                call!(delete_item)
            }
            "DeleteTable" => {
                self.room.is_freed = true;
                call!(delete_table)
            }
            "DescribeTable" => call!(describe_table),
            "GetItem" => call!(get_item),
            "ListTables" => call!(list_tables),
            "ListTagsOfResource" => call!(list_tags_of_resource),
            "PutItem" => write!(put_item),
            "Query" => call!(query),
            "Scan" => call!(scan),
            "TagResource" => call!(tag_resource),
            "TransactWriteItems" => write!(transact_write_items),
            "UntagResource" => call!(untag_resource),
            "UpdateContinuousBackups" => update_continuous_backups(database, read(body)?),
            "UpdateItem" => write!(update_item),
            "UpdateTable" => update_table(database, read(body)?),
            _ => Err(DynoxideError::ValidationException(not_served(operation))),
        }
    }

    /// Refuses what would be too much.
    fn take_room(&mut self, database: &Database, write: &impl Write) -> Result<(), DynoxideError> {
        self.room.writes_since += 1;
        if self.room.writes_since > WRITES_A_COUNT || self.room.is_full() && self.room.is_freed {
            self.count();
        }
        if !self.room.is_full() {
            return Ok(());
        }
        let need = write.need(database);
        if self.room.has(need) {
            self.room.is_freed |= need == Need::Nothing;
            return Ok(());
        }
        Err(DynoxideError::LimitExceededException(format!(
            "There are at most {} items, and {} MiB of them, in all tables together: these are for leases. Delete some, or the tables \
             of applications that are gone.",
            self.room.items_max,
            self.room.bytes_max >> 20
        )))
    }

    fn count(&mut self) {
        let stats: Vec<_> = self.all().filter_map(|database| database.table_stats().ok()).flatten().collect();
        self.room.items = stats.iter().map(|table| table.item_count.unsigned_abs()).sum();
        self.room.bytes = stats.iter().map(|table| table.size_bytes).sum();
        (self.room.writes_since, self.room.is_freed) = (0, false);
    }

    fn create_table(&mut self, database: &Database, request: CreateTableRequest) -> Outcome {
        let local = request.local_secondary_indexes.as_ref().is_some_and(|indexes| !indexes.is_empty());
        let vector = request.vector_indexes.as_ref().is_some_and(|indexes| !indexes.is_empty());
        no_more_than_leases(request.stream_specification.as_ref(), local || vector)?;
        if self.all().filter_map(|database| database.table_count().ok()).sum::<usize>() >= TABLES_MAX {
            let message =
                format!("There are {TABLES_MAX} tables of leases, the most there may be: delete one that is not used.");
            return Err(DynoxideError::LimitExceededException(message));
        }
        written(&database.create_table(request)?)
    }
}

/// The name of a region's file.
fn file_of(region: &str) -> Result<String, DynoxideError> {
    match region {
        "" => Ok(OWN_FILE.to_owned()),
        region if is_region(region) => Ok(format!("tables-{region}.sqlite")),
        _ => Err(DynoxideError::ValidationException(format!("{region} is not a region."))),
    }
}

fn open(path: &Path) -> Result<Database, DynoxideError> {
    let unfit = || DynoxideError::InternalServerError(format!("{} is not a name in UTF-8", path.display()));
    Database::new(path.to_str().ok_or_else(unfit)?)
}

/// What a lease has no use for, and what would take room that is not counted.
fn no_more_than_leases(streams: Option<&StreamSpecification>, has_other_indexes: bool) -> Result<(), DynoxideError> {
    if !has_other_indexes && streams.is_none_or(|streams| !streams.stream_enabled) {
        return Ok(());
    }
    let message = "Tables are for leases of the KCL: they have no streams, and no indexes but global secondary ones.";
    Err(DynoxideError::ValidationException(message.to_owned()))
}

fn update_table(database: &Database, request: UpdateTableRequest) -> Outcome {
    no_more_than_leases(request.stream_specification.as_ref(), request.vector_index_updates.is_some())?;
    written(&database.update_table(request)?)
}

/// There are none: whoever wants them is told that they are off, and goes on.
fn update_continuous_backups(database: &Database, request: DescribeTableRequest) -> Outcome {
    database.describe_table(request)?;
    written(&json!({ "ContinuousBackupsDescription": {
        "ContinuousBackupsStatus": "DISABLED",
        "PointInTimeRecoveryDescription": { "PointInTimeRecoveryStatus": "DISABLED" },
    }}))
}

fn written(answer: &impl serde::Serialize) -> Outcome {
    serde_json::to_vec(answer).map_err(|error| DynoxideError::InternalServerError(error.to_string()))
}

/// Reads a request. What is wrong with it is told in the library's words, less the marks by which it tells kinds apart.
fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, DynoxideError> {
    // A list would be taken for the members in their order.
    if !body.trim_ascii_start().starts_with(b"{") {
        let message = "The body of a request is a map of its members.";
        return Err(DynoxideError::SerializationException(message.to_owned()));
    }
    serde_json::from_slice(body).map_err(|error| {
        let text = error.to_string();
        let (mark, told) = text.split_once(':').unwrap_or_default();
        let is_mark =
            |kind: &str| mark.starts_with(kind) && mark.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
        let is_invalid = ["missing field", "unknown variant", "invalid type: null", "AttributeValue"];
        if is_mark("VALIDATION") {
            DynoxideError::ValidationException(told.to_owned())
        } else if is_mark("SERIALIZATION") {
            DynoxideError::SerializationException(told.to_owned())
        } else if error.is_data() && is_invalid.iter().any(|words| text.contains(words)) {
            DynoxideError::ValidationException(text)
        } else {
            DynoxideError::SerializationException(text)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask_in(region: &str, tables: &mut Tables, operation: &str, body: serde_json::Value) -> (u16, serde_json::Value) {
        let target = format!("{TARGET_PREFIX}{operation}");
        let Answer { status, body } = tables.carry_out(region, &target, body.to_string().as_bytes());
        (status, serde_json::from_slice(&body).unwrap())
    }

    fn ask(tables: &mut Tables, operation: &str, body: serde_json::Value) -> (u16, serde_json::Value) {
        ask_in("", tables, operation, body)
    }

    fn table(name: &str) -> serde_json::Value {
        let keys = json!([{ "AttributeName": "k", "KeyType": "HASH" }]);
        let attributes = json!([{ "AttributeName": "k", "AttributeType": "S" }]);
        json!({ "TableName": name, "BillingMode": "PAY_PER_REQUEST", "KeySchema": keys, "AttributeDefinitions": attributes })
    }

    #[test]
    fn items_are_counted_and_there_may_be_so_many() {
        let folder = tempfile::tempdir().unwrap();
        let mut tables = Tables::new(folder.path().to_owned());
        (tables.room.items_max, tables.room.bytes_max) = (100, 1 << 20);
        for name in ["one", "two"] {
            assert_eq!(ask(&mut tables, "CreateTable", table(name)).0, 200);
        }
        let put = |key: &str, table: &str, bytes: usize| json!({ "TableName": table, "Item": { "k": { "S": key }, "v": { "S": "x".repeat(bytes) } } });
        let refused = |tables: &mut Tables, bytes| {
            (0..1000u32).find(|number| {
                let table = if number % 2 == 0 { "one" } else { "two" };
                let (status, answer) = ask(tables, "PutItem", put(&number.to_string(), table, bytes));
                assert!(status == 200 || answer["__type"].to_string().contains("LimitExceeded"), "{answer}");
                status != 200
            })
        };
        let first = refused(&mut tables, 10).expect("there is an end to it");
        assert!((100..=100 + WRITES_A_COUNT).contains(&first), "{first}");
        assert_eq!(ask(&mut tables, "GetItem", json!({ "TableName": "one", "Key": { "k": { "S": "0" } } })).0, 200);
        assert_eq!(ask(&mut tables, "DeleteTable", json!({ "TableName": "two" })).0, 200);
        assert_eq!(ask(&mut tables, "PutItem", put("0", "one", 10)).0, 200, "there is room again");
        // Half of the items are left: now their bytes count.
        let first = (0..100).find(|_| ask(&mut tables, "PutItem", put("large", "one", 300_000)).0 != 200);
        assert_eq!(first, None, "one item is counted once, however often it is written");
        let first = (0..200)
            .find(|number| ask(&mut tables, "PutItem", put(&format!("large {number}"), "one", 100_000)).0 != 200);
        assert!(first.is_some_and(|first| first <= 7 + WRITES_A_COUNT), "{first:?}");
    }

    #[test]
    fn what_is_there_may_change_and_go_where_no_more_may_be_made() {
        let folder = tempfile::tempdir().unwrap();
        let mut tables = Tables::new(folder.path().to_owned());
        (tables.room.items_max, tables.room.bytes_max) = (10, 1 << 20);
        assert_eq!(ask(&mut tables, "CreateTable", table("one")).0, 200);
        let key = |number: u32| json!({ "k": { "S": number.to_string() } });
        let put = |number| json!({ "TableName": "one", "Item": key(number) });
        let last = (0..1000).find(|&number| ask(&mut tables, "PutItem", put(number)).0 != 200).unwrap();
        let update = |number, bytes: usize| {
            let value = json!({ ":v": { "S": "x".repeat(bytes) } });
            json!({ "TableName": "one", "Key": key(number), "UpdateExpression": "SET v = :v", "ExpressionAttributeValues": value })
        };
        let transact = |operation: &str, request| json!({ "TransactItems": [{ operation: request }] });
        let batch = |write| json!({ "RequestItems": { "one": [write] } });
        // A lease is renewed.
        assert_eq!(ask(&mut tables, "UpdateItem", update(0, 10)).0, 200);
        assert_eq!(ask(&mut tables, "TransactWriteItems", transact("Update", update(1, 10))).0, 200);
        // Nothing is made, by whichever operation.
        assert_eq!(ask(&mut tables, "UpdateItem", update(last, 10)).0, 400);
        assert_eq!(ask(&mut tables, "TransactWriteItems", transact("Update", update(last, 10))).0, 400);
        assert_eq!(ask(&mut tables, "TransactWriteItems", transact("Put", put(last))).0, 400);
        assert_eq!(ask(&mut tables, "BatchWriteItem", batch(json!({ "PutRequest": { "Item": key(last) } }))).0, 400);
        // Nor does what is there grow for ever.
        let first = (0..1000).find(|number| ask(&mut tables, "UpdateItem", update(number % last, 100_000)).0 != 200);
        assert!(first.is_some_and(|first| (20..=20 + WRITES_A_COUNT).contains(&first)), "{first:?}");
        // What is removed makes room.
        assert_eq!(ask(&mut tables, "BatchWriteItem", batch(json!({ "DeleteRequest": { "Key": key(0) } }))).0, 200);
        for number in 2..last {
            let remove = json!({ "TableName": "one", "Key": key(number) });
            assert_eq!(ask(&mut tables, "TransactWriteItems", transact("Delete", remove)).0, 200);
        }
        assert_eq!(ask(&mut tables, "UpdateItem", update(1, 100)).0, 200);
        assert_eq!(ask(&mut tables, "PutItem", put(last)).0, 200);
    }

    #[test]
    fn there_may_be_files_of_so_many_regions_and_bounds_are_for_all_of_them() {
        let folder = tempfile::tempdir().unwrap();
        let mut tables = Tables::new(folder.path().to_owned());
        let files = || fs::read_dir(folder.path()).unwrap().count();
        let describe = json!({ "TableName": "tab" });
        let (status, answer) = ask_in("eu-west-1", &mut tables, "DescribeTable", describe.clone());
        assert!(status == 400 && answer["__type"].to_string().contains("ResourceNotFound"), "{answer}");
        assert_eq!(files(), 0, "no table needs one");
        for region in ["../eu", "EU", ".", "a/b"] {
            let (status, answer) = ask_in(region, &mut tables, "CreateTable", table("tab"));
            assert!(status == 400 && answer["message"].to_string().contains("is not a region"), "{region}: {answer}");
        }
        assert_eq!(ask_in("eu-west-1", &mut tables, "CreateTable", table("?")).0, 400);
        assert_eq!(files(), 0, "nor what is refused");
        let put = json!({ "TableName": "tab", "Item": { "k": { "S": "a" } } });
        for region in (0..OTHER_REGIONS_MAX).map(|number| format!("r-{number}")) {
            assert_eq!(ask_in(&region, &mut tables, "CreateTable", table("tab")).0, 200, "{region}");
            assert_eq!(ask_in(&region, &mut tables, "PutItem", put.clone()).0, 200, "{region}");
        }
        // As after the process has ended: none is open.
        let mut tables = Tables::new(folder.path().to_owned());
        tables.room.items_max = OTHER_REGIONS_MAX as u64;
        let (status, answer) = ask_in("r-more", &mut tables, "CreateTable", table("tab"));
        assert!(status == 400 && answer["message"].to_string().contains("32 regions"), "{answer}");
        assert_eq!(ask(&mut tables, "CreateTable", table("tab")).0, 200, "the server's own has its place");
        let (status, answer) = ask(&mut tables, "PutItem", put);
        assert!(status == 400 && answer["__type"].to_string().contains("LimitExceeded"), "{answer}");
        assert_eq!(ask_in("r-7", &mut tables, "Scan", describe).1["Count"], 1);
    }
}
