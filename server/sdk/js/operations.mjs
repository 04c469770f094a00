// Goes through `operations.json`: each operation is called, and what it is to answer is compared.
//
// A step is an operation, its input, and what is expected: `told` this, or more; the same `until` it does, asked again; to be `refused`.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";
import * as sdk from "@aws-sdk/client-kinesis";

const PATIENCE_MS = 30_000;

/** Whether an answer has what is expected, and maybe more; null is what must not be there. */
function has(found, expected) {
  if (expected === null) return found === undefined;
  if (Array.isArray(expected)) return found?.length === expected.length && expected.every((value, at) => has(found[at], value));
  if (typeof expected === "object") return Object.entries(expected).every(([key, value]) => has(found?.[key], value));
  return found === expected;
}

/** Text is bytes where the API has bytes. */
const inputOf = ({ Data, ...given }) => (Data === undefined ? given : { ...given, Data: Buffer.from(Data) });

async function step(kinesis, operation, given, expected) {
  const command = () => new sdk[`${operation}Command`](inputOf(given));
  const says = (what) => `${operation} ${JSON.stringify(given)}: ${what}`;
  if (expected.refused) {
    return assert.rejects(kinesis.send(command()), { name: expected.refused }, says(`not ${expected.refused}`));
  }
  for (const begun = Date.now(); ; await setTimeout(50)) {
    const told = await kinesis.send(command());
    if (has(told, expected.told ?? expected.until ?? {})) return;
    assert.ok(expected.until && Date.now() < begun + PATIENCE_MS, says(`${JSON.stringify(told)}, not ${JSON.stringify(expected)}`));
  }
}

/** Checks each behaviour by its steps. */
export async function operations(kinesis, check) {
  for (const [behaviour, steps] of JSON.parse(await readFile(new URL("operations.json", import.meta.url)))) {
    await check(behaviour, async () => {
      for (const [operation, given, expected = {}] of steps) await step(kinesis, operation, given, expected);
    });
  }
}
