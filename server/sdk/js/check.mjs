// The SDK for JavaScript as it comes, which speaks HTTP/2 without TLS to an http:// endpoint.
//
//     node check.mjs ENDPOINT
//
// Each check is named after what the API's reference says of the operations that it names, or the SDK expects. Those of SubscribeToShard
// wait five seconds for a sign of life: that there are some is documented (ContinuationSequenceNumber), how often is not. By hash key:
// ExplicitHashKey of PutRecord.

import assert from "node:assert/strict";
import {
  CreateStreamCommand, DeregisterStreamConsumerCommand, DescribeStreamConsumerCommand, DescribeStreamSummaryCommand,
  GetRecordsCommand, GetShardIteratorCommand, KinesisClient, ListShardsCommand, PutRecordCommand, PutRecordsCommand,
  RegisterStreamConsumerCommand, SplitShardCommand, SubscribeToShardCommand,
} from "@aws-sdk/client-kinesis";
import { operations } from "./operations.mjs";

const StreamName = "js-records";
const ShardId = "shardId-000000000000";
const RECORDS = 2_000;
const LIVE = 20;
const MIDDLE = 2n ** 127n;

const kinesis = new KinesisClient({ endpoint: process.argv[2], region: "us-east-1", maxAttempts: 1 });
const ask = (command) => kinesis.send(command);

async function check(behaviour, run) {
  try {
    await run();
  } catch (error) {
    console.error(`js: FAILED: ${behaviour}`);
    throw error;
  }
  console.log(`js: ${behaviour}`);
}

/** Bytes of every value and of every length up to 1,000. */
const dataOf = (number) => Uint8Array.from({ length: 1 + (number % 1000) }, (_, at) => (number * 31 + at * 7) & 255);
const keyOf = (number) => (number % 7 === 0 ? `ключ-${number}` : `key-${number}`);
const recordOf = (number) => ({ Data: dataOf(number), PartitionKey: keyOf(number) });

/** The sequence numbers of what was put, in the order of its number: all in the shard that is split later. */
const numbers = [];

async function putMore(count) {
  for (let left = count; left > 0; left--) {
    const answer = await ask(new PutRecordCommand({ StreamName, ...recordOf(numbers.length) }));
    assert.equal(answer.ShardId, ShardId);
    numbers.push(answer.SequenceNumber);
  }
}

/** That these are the records from `at` on; the number after them. */
function same(records, at) {
  for (const record of records) {
    assert.deepEqual([record.SequenceNumber, record.PartitionKey], [numbers[at], keyOf(at)], `record ${at}`);
    assert.ok(Buffer.from(record.Data).equals(Buffer.from(dataOf(at))), `record ${at} differs`);
    assert.ok(Math.abs(record.ApproximateArrivalTimestamp - Date.now()) < 600_000, `${record.ApproximateArrivalTimestamp}`);
    at += 1;
  }
  return at;
}

async function iterator(shard) {
  const answer = await ask(new GetShardIteratorCommand({ StreamName, ShardId: shard, ShardIteratorType: "TRIM_HORIZON" }));
  return answer.ShardIterator;
}

/** All records of a shard up to its tip or its end, and the last answer. */
async function read(shard) {
  const records = [];
  for (let ShardIterator = await iterator(shard); ;) {
    const answer = await ask(new GetRecordsCommand({ ShardIterator, Limit: 777 }));
    records.push(...answer.Records);
    ShardIterator = answer.NextShardIterator;
    if (ShardIterator === undefined || answer.MillisBehindLatest === 0) return { records, last: answer };
  }
}

async function refused(name, command) {
  await assert.rejects(ask(command), (error) => {
    assert.equal(error.name, name, error.message);
    assert.equal(error.$metadata.httpStatusCode, 400);
    assert.match(error.$metadata.requestId, /^[0-9a-f-]{36}$/);
    return true;
  });
}

async function subscribe(ConsumerARN, StartingPosition) {
  return ask(new SubscribeToShardCommand({ ConsumerARN, ShardId, StartingPosition }));
}

function childrenAreTold(children) {
  const spans = children.map(({ HashKeyRange: span }) => [span.StartingHashKey, span.EndingHashKey]);
  assert.deepEqual(spans, [["0", `${MIDDLE - 1n}`], [`${MIDDLE}`, `${2n ** 128n - 1n}`]]);
  assert.deepEqual(children.map((child) => child.ParentShards), [[ShardId], [ShardId]]);
}

let StreamARN;
let ConsumerARN;
let children;

await check("the client's default is HTTP/2, with prior knowledge where there is no TLS", () =>
  assert.equal(kinesis.config.requestHandler.metadata.handlerProtocol, "h2"));

await check("CreateStream makes a stream, which DescribeStreamSummary tells ACTIVE, and has no second of its name", async () => {
  await ask(new CreateStreamCommand({ StreamName, ShardCount: 1 }));
  const { StreamDescriptionSummary: summary } = await ask(new DescribeStreamSummaryCommand({ StreamName }));
  assert.deepEqual([summary.StreamStatus, summary.OpenShardCount, summary.RetentionPeriodHours], ["ACTIVE", 1, 24]);
  StreamARN = summary.StreamARN;
  await refused("ResourceInUseException", new CreateStreamCommand({ StreamName, ShardCount: 1 }));
});

await check("PutRecords answers entry for entry, PutRecord with where the record is", async () => {
  for (let first = 0; first < RECORDS; first += 500) {
    const Records = Array.from({ length: 500 }, (_, at) => recordOf(first + at));
    const answer = await ask(new PutRecordsCommand({ StreamName, Records }));
    assert.deepEqual([answer.FailedRecordCount, answer.Records.length], [0, 500]);
    numbers.push(...answer.Records.map((record) => record.SequenceNumber));
  }
  await putMore(1);
});

await check("GetRecords gives each record once, unchanged, in order; an open shard's iterator goes on", async () => {
  const { records, last } = await read(ShardId);
  assert.equal(same(records, 0), numbers.length);
  assert.ok(last.NextShardIterator !== undefined && last.ChildShards === undefined);
});

await check("RegisterStreamConsumer's consumer becomes ACTIVE, and there is no second of its name", async () => {
  const named = { StreamARN, ConsumerName: "js" };
  ({ ConsumerARN } = (await ask(new RegisterStreamConsumerCommand(named))).Consumer);
  assert.match(ConsumerARN, new RegExp(`^${StreamARN}/consumer/js:\\d+$`));
  const { ConsumerDescription: described } = await ask(new DescribeStreamConsumerCommand({ ConsumerARN }));
  assert.deepEqual([described.ConsumerStatus, described.ConsumerName, described.StreamARN], ["ACTIVE", "js", StreamARN]);
  await refused("ResourceInUseException", new RegisterStreamConsumerCommand(named));
});

let first;
let continued;

await check("SubscribeToShard pushes what there is, then what is put meanwhile, in order", async () => {
  first = (await subscribe(ConsumerARN, { Type: "TRIM_HORIZON" })).EventStream[Symbol.asyncIterator]();
  for (let at = 0, put = false; at < RECORDS + 1 + LIVE;) {
    const { SubscribeToShardEvent: event } = (await first.next()).value;
    assert.ok(event.ContinuationSequenceNumber !== undefined && event.ChildShards === undefined);
    at = same(event.Records, at);
    if (at === numbers.length && !put) {
      put = true;
      await putMore(LIVE);
    }
  }
});

await check("SubscribeToShard within five seconds of another of the consumer is a ResourceInUseException", () =>
  refused("ResourceInUseException", new SubscribeToShardCommand({ ConsumerARN, ShardId, StartingPosition: { Type: "LATEST" } })));

await check("SubscribeToShard says something every five seconds, where to go on among it", async () => {
  const { SubscribeToShardEvent: event } = (await first.next()).value;
  assert.deepEqual([event.Records.length, event.MillisBehindLatest], [0, 0]);
  continued = event.ContinuationSequenceNumber;
});

let second;

await check("SubscribeToShard after five seconds takes over; the one before fails with ResourceInUseException", async () => {
  const from = { Type: "AFTER_SEQUENCE_NUMBER", SequenceNumber: continued };
  second = (await subscribe(ConsumerARN, from)).EventStream[Symbol.asyncIterator]();
  await assert.rejects(async () => {
    while (!(await first.next()).done);
  }, { name: "ResourceInUseException" });
});

await check("SubscribeToShard ends where the shard was split: ChildShards, and no ContinuationSequenceNumber", async () => {
  let at = numbers.length;
  await putMore(LIVE);
  await ask(new SplitShardCommand({ StreamName, ShardToSplit: ShardId, NewStartingHashKey: `${MIDDLE}` }));
  for (let next = await second.next(); !next.done; next = await second.next()) {
    assert.equal(children, undefined, "something follows the end");
    const { SubscribeToShardEvent: event } = next.value;
    at = same(event.Records, at);
    children = event.ChildShards;
    assert.equal(event.ContinuationSequenceNumber === undefined, children !== undefined);
  }
  assert.equal(at, numbers.length);
  childrenAreTold(children);
});

await check("GetRecords behind a closed shard's last record gives ChildShards and no iterator", async () => {
  const { records, last } = await read(ShardId);
  assert.equal(same(records, 0), numbers.length);
  assert.equal(last.NextShardIterator, undefined);
  childrenAreTold(last.ChildShards);
});

await check("ListShards tells both children and their parent, whose sequence numbers have an end now", async () => {
  const { Shards: open } = await ask(new ListShardsCommand({ StreamARN, ShardFilter: { Type: "AT_LATEST" } }));
  assert.deepEqual(open.map((shard) => shard.ShardId), children.map((child) => child.ShardId));
  assert.deepEqual(open.map((shard) => shard.ParentShardId), [ShardId, ShardId]);
  const { Shards: all } = await ask(new ListShardsCommand({ StreamName }));
  const ends = all.map((shard) => shard.SequenceNumberRange.EndingSequenceNumber !== undefined);
  assert.deepEqual(ends, [true, false, false]);
});

await check("records put after the split are in the children, by hash key", async () => {
  for (const [at, ExplicitHashKey] of ["0", `${MIDDLE}`].entries()) {
    const put = await ask(new PutRecordCommand({ StreamName, Data: dataOf(at), PartitionKey: "k", ExplicitHashKey }));
    assert.equal(put.ShardId, children[at].ShardId);
    const { records } = await read(put.ShardId);
    assert.deepEqual(records.map((record) => record.SequenceNumber), [put.SequenceNumber]);
  }
});

await check("errors come by type: what is not there, what is not allowed, what is no iterator", async () => {
  await refused("ResourceNotFoundException", new PutRecordCommand({ StreamName: "nowhere", ...recordOf(0) }));
  await refused("ResourceNotFoundException", new SubscribeToShardCommand({
    ConsumerARN: `${StreamARN}/consumer/nobody:1`, ShardId, StartingPosition: { Type: "LATEST" },
  }));
  await refused("ValidationException", new PutRecordCommand({ StreamName, ...recordOf(0), PartitionKey: "" }));
  await refused("InvalidArgumentException", new PutRecordCommand({ StreamName, ...recordOf(0), ExplicitHashKey: "444444444444444444444444444444444444444" }));
  await refused("InvalidArgumentException", new GetRecordsCommand({ ShardIterator: "AAAAAAAAAAE=" }));
  await refused("InvalidArgumentException", new SplitShardCommand({
    StreamName, ShardToSplit: ShardId, NewStartingHashKey: `${MIDDLE}`,
  }));
});

await check("DeregisterStreamConsumer: the consumer is gone", async () => {
  await ask(new DeregisterStreamConsumerCommand({ ConsumerARN }));
  await refused("ResourceNotFoundException", new DescribeStreamConsumerCommand({ ConsumerARN }));
});

await operations(kinesis, check);

kinesis.destroy();
