// Puts, reads and subscribes with the SDK for JavaScript as it comes: over HTTP/2, also where there is no TLS.
//
//     node check.mjs ENDPOINT

import assert from "node:assert/strict";
import {
  CreateStreamCommand, DeleteStreamCommand, DescribeStreamConsumerCommand, DescribeStreamSummaryCommand, GetRecordsCommand,
  GetShardIteratorCommand, KinesisClient, ListShardsCommand, PutRecordCommand, PutRecordsCommand,
  RegisterStreamConsumerCommand, SplitShardCommand, SubscribeToShardCommand,
} from "@aws-sdk/client-kinesis";

const StreamName = "js-records";
const ShardId = "shardId-000000000000";
const RECORDS = 2_000;
const LIVE = 20;

const endpoint = process.argv[2];
const kinesis = new KinesisClient({ endpoint, region: "us-east-1" });
const ask = (command) => kinesis.send(command);

/** Bytes of every value and of every length up to 1,000. */
const dataOf = (number) => Uint8Array.from({ length: 1 + (number % 1000) }, (_, at) => (number * 31 + at * 7) & 255);
const keyOf = (number) => (number % 7 === 0 ? `ключ-${number}` : `key-${number}`);

async function refused(name, command) {
  await assert.rejects(ask(command), (error) => {
    assert.equal(error.name, name, error.message);
    return true;
  });
}

async function put() {
  const numbers = [];
  for (let first = 0; first < RECORDS; first += 500) {
    const Records = Array.from({ length: 500 }, (_, at) => ({ Data: dataOf(first + at), PartitionKey: keyOf(first + at) }));
    const answer = await ask(new PutRecordsCommand({ StreamName, Records }));
    assert.equal(answer.FailedRecordCount, 0);
    numbers.push(...answer.Records.map((record) => record.SequenceNumber));
  }
  return numbers;
}

function same(record, number, sequenceNumber) {
  assert.deepEqual([record.SequenceNumber, record.PartitionKey], [sequenceNumber, keyOf(number)]);
  assert.ok(Buffer.from(record.Data).equals(Buffer.from(dataOf(number))), `record ${number} differs`);
  assert.ok(Math.abs(record.ApproximateArrivalTimestamp - Date.now()) < 600_000);
}

/** Each record once, unchanged, in order; behind the end of a closed shard there is no iterator, but its children. */
async function read(numbers) {
  let { ShardIterator } = await ask(new GetShardIteratorCommand({ StreamName, ShardId, ShardIteratorType: "TRIM_HORIZON" }));
  let at = 0;
  for (;;) {
    const answer = await ask(new GetRecordsCommand({ ShardIterator, Limit: 777 }));
    for (const record of answer.Records) same(record, at, numbers[at++]);
    ShardIterator = answer.NextShardIterator;
    if (ShardIterator === undefined || (answer.MillisBehindLatest === 0 && at === numbers.length)) {
      assert.equal(at, numbers.length);
      return { ShardIterator, ChildShards: answer.ChildShards };
    }
  }
}

/** What there is, then what comes, then the end where the shard was split. */
async function subscribe(ConsumerARN, numbers) {
  const start = { ConsumerARN, ShardId, StartingPosition: { Type: "TRIM_HORIZON" } };
  const { EventStream } = await ask(new SubscribeToShardCommand(start));
  await refused("ResourceInUseException", new SubscribeToShardCommand(start));
  let at = 0;
  let children;
  let silent = false;
  for await (const { SubscribeToShardEvent: event } of EventStream) {
    assert.equal(children, undefined, "nothing follows the end");
    for (const record of event.Records) same(record, at, numbers[at++]);
    children = event.ChildShards;
    assert.equal(event.ContinuationSequenceNumber === undefined, children !== undefined);
    if (at === RECORDS && numbers.length === RECORDS) {
      for (let live = RECORDS; live < RECORDS + LIVE; live++) {
        const record = { StreamName, Data: dataOf(live), PartitionKey: keyOf(live) };
        numbers.push((await ask(new PutRecordCommand(record))).SequenceNumber);
      }
    }
    // A sign of life, after which the shard is split.
    if (at === RECORDS + LIVE && event.Records.length === 0 && !silent) {
      silent = true;
      assert.equal(event.MillisBehindLatest, 0);
      await ask(new SplitShardCommand({ StreamName, ShardToSplit: ShardId, NewStartingHashKey: "7" }));
    }
  }
  assert.equal(at, RECORDS + LIVE);
  assert.deepEqual(children.map((child) => child.ParentShards), [[ShardId], [ShardId]]);
}

await ask(new CreateStreamCommand({ StreamName, ShardCount: 1 }));
const numbers = await put();
assert.ok((await read(numbers)).ShardIterator !== undefined, "an open shard goes on");
const { StreamDescriptionSummary: summary } = await ask(new DescribeStreamSummaryCommand({ StreamName }));
const registered = await ask(new RegisterStreamConsumerCommand({ StreamARN: summary.StreamARN, ConsumerName: "js" }));
const { ConsumerARN } = registered.Consumer;
const described = await ask(new DescribeStreamConsumerCommand({ ConsumerARN }));
assert.equal(described.ConsumerDescription.ConsumerStatus, "ACTIVE");
await subscribe(ConsumerARN, numbers);
const end = await read(numbers);
assert.deepEqual([end.ShardIterator, end.ChildShards.length], [undefined, 2]);
const { Shards } = await ask(new ListShardsCommand({ StreamARN: summary.StreamARN, ShardFilter: { Type: "AT_LATEST" } }));
assert.equal(Shards.length, 2);
await refused("ResourceNotFoundException", new DeleteStreamCommand({ StreamName: "nowhere" }));
await refused("ValidationException", new PutRecordCommand({ StreamName, Data: dataOf(1), PartitionKey: "" }));
console.log(`js: put ${RECORDS + LIVE} records, read and was pushed each once, in order, unchanged, over HTTP/2`);
kinesis.destroy();
