//! The operations on tables of leases, within bounds: what `dynoxide` does with a request, less what no lease needs.

use dynoxide::actions::create_table::{CreateTableRequest, StreamSpecification};
use dynoxide::actions::describe_table::DescribeTableRequest;
use dynoxide::actions::update_table::UpdateTableRequest;
use dynoxide::{Database, DynoxideError};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::{Answer, TARGET_PREFIX, not_served};

/// Tables at once. An application of the KCL has one, or three.
const TABLES_MAX: usize = 256;

/// Items in all tables together, and their bytes: an item is a shard, or a worker, and has some hundreds.
const ITEMS_MAX: u64 = 200_000;
const ITEM_BYTES_MAX: u64 = 256 << 20;

/// Writes between two counts of that, which take a look at every item: so many more may come to be.
const WRITES_A_COUNT: u32 = 64;

type Outcome = Result<Vec<u8>, DynoxideError>;

/// The tables in one file.
pub(super) struct Tables {
    file: &'static str,
    /// `None` until it is asked for, and after it has failed: a file that is mended or gone is seen without a restart.
    database: Option<Database>,
    room: Room,
}

/// What there may be, and what was counted.
struct Room {
    items_max: u64,
    bytes_max: u64,
    is_full: bool,
    writes_since: u32,
}

impl Tables {
    /// Those in `file` of the working directory, which is opened once it is needed.
    pub(super) fn new(file: &'static str) -> Tables {
        let (items_max, bytes_max) = (ITEMS_MAX, ITEM_BYTES_MAX);
        let room = Room { items_max, bytes_max, is_full: false, writes_since: WRITES_A_COUNT };
        Tables { file, database: None, room }
    }

    /// Carries out what a target names.
    pub(super) fn carry_out(&mut self, target: &str, body: &[u8]) -> Answer {
        let opened = match self.database.take() {
            Some(database) => Ok(database),
            None => Database::new(self.file),
        };
        let outcome = opened.and_then(|database| {
            let outcome = run(&database, &mut self.room, target, body);
            self.database = Some(database);
            outcome
        });
        match outcome {
            Ok(body) => Answer { status: 200, body },
            Err(error) if error.status_code() >= 500 => {
                self.database = None;
                Answer { status: 500, body: self.failure(&error) }
            }
            Err(error) => Answer { status: error.status_code(), body: error.to_json().into_bytes() },
        }
    }

    /// What is said when it is not the request's fault.
    fn failure(&self, error: &DynoxideError) -> Vec<u8> {
        let folder = std::env::current_dir().unwrap_or_default();
        let message = format!(
            "The tables of leases can't be used: {error}. They lie in {}; look at the disk's space and health, or put that file, and \
             those beside it, back from a copy. Removed, with the server stopped, they are made anew, and consumers begin where they \
             would without a checkpoint. Streams are not affected.",
            folder.join(self.file).display()
        );
        json!({ "__type": "InternalServerError", "message": message }).to_string().into_bytes()
    }
}

fn run(database: &Database, room: &mut Room, target: &str, body: &[u8]) -> Outcome {
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
            room.take(database)?;
            written(&database.$operation(request)?)
        }};
    }
    let operation = target.strip_prefix(TARGET_PREFIX).unwrap_or_default();
    match operation {
        "BatchGetItem" => call!(batch_get_item),
        "BatchWriteItem" => write!(batch_write_item),
        "CreateTable" => create_table(database, read(body)?),
        "DeleteItem" => call!(delete_item),
        "DeleteTable" => {
            room.writes_since = WRITES_A_COUNT;
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

impl Room {
    /// Refuses what would be too much.
    fn take(&mut self, database: &Database) -> Result<(), DynoxideError> {
        self.writes_since += 1;
        if self.is_full || self.writes_since > WRITES_A_COUNT {
            let stats = database.table_stats()?;
            let items: u64 = stats.iter().map(|table| table.item_count.unsigned_abs()).sum();
            let bytes: u64 = stats.iter().map(|table| table.size_bytes).sum();
            (self.is_full, self.writes_since) = (items >= self.items_max || bytes >= self.bytes_max, 0);
        }
        if !self.is_full {
            return Ok(());
        }
        Err(DynoxideError::LimitExceededException(format!(
            "There are at most {} items, and {} MiB of them, in all tables together: these are for leases. Delete some, or the tables \
             of applications that are gone.",
            self.items_max,
            self.bytes_max >> 20
        )))
    }
}

/// What a lease has no use for, and what would take room that is not counted.
fn no_more_than_leases(streams: Option<&StreamSpecification>, has_other_indexes: bool) -> Result<(), DynoxideError> {
    if !has_other_indexes && streams.is_none_or(|streams| !streams.stream_enabled) {
        return Ok(());
    }
    let message = "Tables are for leases of the KCL: they have no streams, and no indexes but global secondary ones.";
    Err(DynoxideError::ValidationException(message.to_owned()))
}

fn create_table(database: &Database, request: CreateTableRequest) -> Outcome {
    let local = request.local_secondary_indexes.as_ref().is_some_and(|indexes| !indexes.is_empty());
    let vector = request.vector_indexes.as_ref().is_some_and(|indexes| !indexes.is_empty());
    no_more_than_leases(request.stream_specification.as_ref(), local || vector)?;
    if database.table_count()? >= TABLES_MAX {
        let message =
            format!("There are {TABLES_MAX} tables of leases, the most there may be: delete one that is not used.");
        return Err(DynoxideError::LimitExceededException(message));
    }
    written(&database.create_table(request)?)
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

    fn ask(tables: &mut Tables, operation: &str, body: serde_json::Value) -> (u16, serde_json::Value) {
        let Answer { status, body } =
            tables.carry_out(&format!("{TARGET_PREFIX}{operation}"), body.to_string().as_bytes());
        (status, serde_json::from_slice(&body).unwrap())
    }

    #[test]
    fn items_are_counted_and_there_may_be_so_many() {
        let mut tables = Tables::new(":memory:");
        (tables.room.items_max, tables.room.bytes_max) = (100, 1 << 20);
        for name in ["one", "two"] {
            let keys = json!([{ "AttributeName": "k", "KeyType": "HASH" }]);
            let attributes = json!([{ "AttributeName": "k", "AttributeType": "S" }]);
            let table = json!({ "TableName": name, "BillingMode": "PAY_PER_REQUEST", "KeySchema": keys, "AttributeDefinitions": attributes });
            assert_eq!(ask(&mut tables, "CreateTable", table).0, 200);
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
}
