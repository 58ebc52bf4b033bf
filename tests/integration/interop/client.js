'use strict';
// The grpc-js client of test_interop.py: client.js TARGETS [CASE]. The cases of client.py under the same names, and the
// same lines for them.
const assert = require('assert');
const crypto = require('crypto');
const { grpc, InteropService, TEXT, BIN } = require('./contract.js');

const { OK, CANCELLED, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED, UNAVAILABLE } = grpc.status;
const MAX = 4 << 20; // the largest message that any of the peers takes without being told
const UNICODE = 'zu spät ☕ 日本 🧵 100% "%20"\n\tend';
const CASES = [];
const test = (name, run) => CASES.push({ name, run });

function same(got, wanted, what) {
  try {
    assert.deepStrictEqual(got, wanted);
  } catch {
    const show = (value) => (JSON.stringify(value) ?? String(value)).slice(0, 300);
    throw new Error(`${what}: ${show(got)} instead of ${show(wanted)}`);
  }
}

const range = (count) => Array.from({ length: count }, (_, i) => i);
const pattern = (number, size) => Buffer.from(range(size).map((i) => (number + i) & 255));
const pause = (ms) => new Promise((go) => setTimeout(go, ms));
const reply = (payload, number = 0) => ({ payload: Buffer.from(payload), number, tell: null });

// ---- calls: a result is { messages, status, initial, trailing }

class Peer {
  constructor(target) {
    this.target = target;
    this.client = new InteropService(target.address, grpc.credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    });
    this.calls = 0;
  }

  key(name) {
    return `node ${this.target.name} ${name} ${++this.calls}`;
  }

  // A call with one reply.
  #one(method, send, metadata, options) {
    const result = { messages: [], initial: null };
    const wait = new Promise((done) => {
      const args = [metadata ?? new grpc.Metadata(), options ?? {}, (error, message) => {
        result.error = error;
        if (message) result.messages.push(message);
      }];
      const call = send === undefined ? this.client[method](...args) : this.client[method](send, ...args);
      result.call = call;
      call.on('metadata', (it) => { result.initial = it; });
      call.on('status', (status) => {
        result.status = status;
        setImmediate(() => done(result)); // the callback comes first or next
      });
    });
    return { call: result.call, wait };
  }

  // A call with any number of replies. next() takes them one at a time, wait all that are left.
  #many(method, send, metadata, options) {
    const more = [metadata ?? new grpc.Metadata(), options ?? {}];
    const call = send === undefined ? this.client[method](...more) : this.client[method](send, ...more);
    const result = { call, messages: [], initial: null };
    const waiting = [];
    let over = false;
    call.on('metadata', (it) => { result.initial = it; });
    call.on('data', (message) => (waiting.length ? waiting.shift()(message) : result.messages.push(message)));
    call.on('error', () => {});
    const wait = new Promise((done) => {
      call.on('status', (status) => {
        result.status = status;
        over = true;
        for (const waiter of waiting.splice(0)) waiter(null);
        done(result);
      });
    });
    const next = () => {
      if (result.messages.length) return Promise.resolve(result.messages.shift());
      return over ? Promise.resolve(null) : new Promise((take) => waiting.push(take));
    };
    return { call, wait, next };
  }

  empty() {
    return this.#one('Empty', {});
  }

  unary(request, metadata, options) {
    return this.#one('Unary', request, metadata, options);
  }

  retried(request, metadata, options) {
    return this.#one('Retried', request, metadata, options);
  }

  down(request, metadata, options) {
    return this.#many('Down', request, metadata, options);
  }

  // Sends the requests and half-closes; without requests it is left to the caller.
  up(requests, metadata, options) {
    const it = this.#one('Up', undefined, metadata, options);
    if (requests) send(it.call, requests);
    return it;
  }

  both(requests, metadata, options) {
    const it = this.#many('Both', undefined, metadata, options);
    if (requests) send(it.call, requests);
    return it;
  }

  async seen(key) {
    return (await ok(this.#one('Seen', { key }))).messages[0];
  }

  async waitSeen(key, entered, cancelled, seconds = 10) {
    const end = Date.now() + seconds * 1000;
    for (;;) {
      const got = await this.seen(key);
      if (got.entered === entered && got.cancelled === cancelled && got.ended >= cancelled) return true;
      if (Date.now() > end) return false;
      await pause(10);
    }
  }

  async mustSee(key, entered, cancelled) {
    if (await this.waitSeen(key, entered, cancelled)) return;
    same(await this.seen(key), { entered, ended: cancelled, cancelled }, 'what the server saw');
  }
}

function send(call, requests) {
  for (const request of requests) call.write(request);
  call.end();
}

// Awaits a call; checks the status, and its text if it is given.
async function outcome(it, code, details) {
  const result = await it.wait;
  same(result.status.code, code, `status (${result.status.details})`);
  if (details !== undefined) same(result.status.details, details, 'text of the status');
  return result;
}

// A grpc-js server says "OK" where others give no text.
async function ok(it) {
  const result = await outcome(it, OK);
  same(['', 'OK'].includes(result.status.details), true, `no text: ${result.status.details}`);
  return result;
}

// ---- bodies

test('empty', async (peer) => {
  same((await ok(peer.empty())).messages, [{}], 'reply');
});

test('unary', async (peer) => {
  const payload = crypto.randomBytes(1000);
  same((await ok(peer.unary({ payload }))).messages, [reply(payload)], 'reply');
});

test('client stream', async (peer) => {
  const parts = range(64).map((i) => crypto.randomBytes(37 * i));
  const got = await ok(peer.up(parts.map((payload) => ({ payload }))));
  same(got.messages, [reply(Buffer.concat(parts), 64)], 'reply');
});

test('server stream', async (peer) => {
  const got = await ok(peer.down({ count: 200, reply_bytes: 3000 }));
  same(got.messages, range(200).map((i) => reply(pattern(i, 3000), i)), 'replies');
});

test('bidi stream', async (peer) => {
  const parts = [0, 1, 100, 20000, 300000, 5].map((size) => crypto.randomBytes(size));
  const got = await ok(peer.both(parts.map((payload) => ({ payload }))));
  same(got.messages, parts.map(reply), 'replies');
});

test('conversation', async (peer) => {
  const it = peer.both();
  for (const i of range(20)) {
    it.call.write({ payload: Buffer.from(`turn ${i}`) });
    same(await it.next(), reply(`turn ${i}`, i), 'reply');
  }
  it.call.end();
  same((await ok(it)).messages, [], 'after the last reply');
});

test('streams without messages', async (peer) => {
  same((await ok(peer.up([]))).messages, [reply('')], 'reply');
  same((await ok(peer.down({}))).messages, [], 'replies');
  same((await ok(peer.both([]))).messages, [], 'replies');
});

test('4 MiB unary', async (peer) => {
  const payload = crypto.randomBytes(MAX - 5);
  const serialize = InteropService.service.Unary.requestSerialize;
  same(serialize({ payload }).length, MAX, 'size of the request');
  const got = await ok(peer.unary({ payload }));
  same(got.messages[0].payload.equals(payload), true, 'the payload comes back');
});

test('4 MiB in a stream', async (peer) => {
  const parts = range(2).map(() => crypto.randomBytes(MAX - 64));
  const got = await ok(peer.both(parts.map((payload) => ({ payload }))));
  same(got.messages.map((m) => [m.number, m.payload.equals(parts[m.number])]), [[0, true], [1, true]], 'replies');
});

test('a byte over 4 MiB', async (peer) => {
  await outcome(peer.unary({ payload: Buffer.alloc(MAX - 4) }), RESOURCE_EXHAUSTED);
  same((await ok(peer.unary({ payload: Buffer.from('next') }))).messages, [reply('next')], 'reply of the next call');
});

// ---- many at once

test('200 parallel streams', async (peer) => {
  const calls = range(200).map(() => peer.both());
  const turn = async (it, i, number) => {
    const payload = Buffer.from(`${number} of ${i}`);
    it.call.write({ payload });
    same(await it.next(), reply(payload, number), 'reply');
  };
  await Promise.all(calls.map((it, i) => turn(it, i, 0))); // now all are open
  await Promise.all(calls.map((it, i) => turn(it, i, 1)));
  for (const it of calls) it.call.end();
  for (const it of calls) same((await ok(it)).messages, [], 'after the last reply');
});

test('200 parallel calls', async (peer) => {
  const got = await Promise.all(range(200).map((i) => ok(peer.unary({ payload: Buffer.from(`${i}`) }))));
  same(got.map((it) => it.messages), range(200).map((i) => [reply(`${i}`)]), 'replies');
});

// ---- deadlines

const within = (seconds) => ({ deadline: Date.now() + seconds * 1000 });

test('the server sees a deadline that shrinks', async (peer) => {
  const begun = Date.now();
  const got = await ok(peer.unary({ tell: true, wait_ms: 60 }, null, within(7)));
  const took = Date.now() - begun;
  const { left_ms: left, left_later_ms: later } = got.messages[0].tell;
  // gRPC's time is rounded up to two digits of a second by some.
  if (left < 7000 - took - 5 || left > 7020) throw new Error(`${left} ms left of 7000 after at most ${took}`);
  if (later < 7000 - took - 5 || later > left - 50) throw new Error(`${left} ms left, 60 ms later ${later}`);
});

test('what is left of a deadline for a second try', async (peer) => {
  const key = peer.key('retry');
  const begun = Date.now();
  const it = peer.retried({ key, tell: true, wait_ms: 150 }, null, within(7));
  if (!peer.target.retries) {
    await outcome(it, UNAVAILABLE, 'not yet');
    await peer.mustSee(key, 1, 0);
    return;
  }
  const { tell } = (await ok(it)).messages[0];
  const took = Date.now() - begun;
  if (tell.left_ms < 7000 - took - 5 || tell.left_ms > 7020 - 150)
    throw new Error(`${tell.left_ms} ms left of 7000 after 150 of at most ${took}`);
  await peer.mustSee(key, 2, 0);
});

test('no deadline is none', async (peer) => {
  const { tell } = (await ok(peer.unary({ tell: true }))).messages[0];
  same([tell.left_ms, tell.left_later_ms], [-1, -1], 'time left');
});

// A deadline that passes while the server works: a longer one where the machine was too slow to get there.
async function passes(peer, name, start, enough) {
  let got;
  for (const seconds of [0.2, 0.8, 3.2]) {
    const key = peer.key(name);
    const begun = Date.now();
    got = await outcome(start(key, within(seconds)), DEADLINE_EXCEEDED);
    const took = (Date.now() - begun) / 1000;
    if (took < seconds - 0.02 || took > seconds + 5) throw new Error(`a deadline of ${seconds} s passed after ${took} s`);
    if ((await peer.waitSeen(key, 1, 1, 2)) && enough(got)) return;
  }
  throw new Error(`no call reached the server and was cancelled there in time (${got.messages.length} messages)`);
}

test('a deadline passes, and the server sees it', async (peer) => {
  await passes(peer, 'deadline', (key, options) => peer.unary({ key, wait_ms: 60000 }, null, options),
    (got) => got.messages.length === 0);
});

test('a deadline passes in a stream', async (peer) => {
  const want = range(3).map((i) => reply(pattern(i, 10), i));
  await passes(peer, 'stream',
    (key, options) => peer.down({ key, count: 3, reply_bytes: 10, wait_ms: 60000 }, null, options),
    (got) => require('util').isDeepStrictEqual(got.messages, want));
});

// ---- cancels

async function cancelled(peer, key, it) {
  it.call.cancel();
  await outcome(it, CANCELLED);
  await peer.mustSee(key, 1, 1);
}

test('the server sees a unary call cancelled', async (peer) => {
  const key = peer.key('cancel');
  const it = peer.unary({ key, wait_ms: 60000 });
  await peer.mustSee(key, 1, 0);
  await cancelled(peer, key, it);
});

test('the server sees a client stream cancelled', async (peer) => {
  const key = peer.key('cancel');
  const it = peer.up();
  for (const payload of ['x', 'x']) it.call.write({ key, payload: Buffer.from(payload), wait_ms: 60000 });
  await peer.mustSee(key, 1, 0);
  await cancelled(peer, key, it);
});

test('the server sees a server stream cancelled', async (peer) => {
  const key = peer.key('cancel');
  const it = peer.down({ key, count: 10000000, reply_bytes: 1000 });
  for (const i of range(3)) same(await it.next(), reply(pattern(i, 1000), i), 'reply');
  await cancelled(peer, key, it);
});

test('the server sees a bidi stream cancelled', async (peer) => {
  const key = peer.key('cancel');
  const it = peer.both();
  it.call.write({ key, payload: Buffer.from('x'), wait_ms: 60000 });
  same(await it.next(), reply('x'), 'reply');
  await cancelled(peer, key, it);
});

// ---- metadata

function sent(text, binary) {
  const metadata = new grpc.Metadata();
  for (const value of text) metadata.add(TEXT, value);
  for (const value of binary) metadata.add(BIN, value);
  return metadata;
}

// What was sent comes back in the initial metadata and the trailers. Node gives several ASCII values of a key as one, with
// commas, and so sends them on.
async function echoed(it, code, text, binary) {
  const got = await outcome(it, code);
  for (const [where, metadata] of [['initial', got.initial], ['trailing', got.status.metadata]]) {
    same(metadata.get(TEXT).join(', '), text.join(', '), `${where} ASCII metadata`);
    same(metadata.get(BIN), binary, `${where} -bin metadata`);
  }
  return got;
}

const requests = (...more) => [{ tell: true, payload: Buffer.from('x') }, ...more];

async function allKinds(peer, text, binary) {
  const metadata = sent(text, binary);
  const calls = [peer.unary({ tell: true }, metadata), peer.up(requests(), metadata),
    peer.down({ tell: true, count: 1 }, metadata), peer.both(requests(), metadata)];
  for (const it of calls) {
    const { messages: [{ tell }] } = await echoed(it, OK, text, binary);
    same(tell.text.join(', '), text.join(', '), 'ASCII metadata at the server');
    same(tell.bin, binary, '-bin metadata at the server');
  }
}

test('metadata ASCII', async (peer) => {
  await allKinds(peer, ['plain', 'spaces  and, more', '~!@#$%^&*()_+{}|:"<>?/;\'[]\\=-`'], []);
});

test('metadata -bin', async (peer) => {
  await allKinds(peer, [], [pattern(0, 256), Buffer.from([0]), Buffer.from([255, 254]), Buffer.from('☕')]);
});

test('metadata of 5 KB', async (peer) => {
  await allKinds(peer, ['v'.repeat(3000)], [crypto.randomBytes(1500)]);
});

test('no metadata', async (peer) => {
  await allKinds(peer, [], []);
});

test("the caller's identity", async (peer) => {
  const { tell } = (await ok(peer.unary({ tell: true }))).messages[0];
  same(tell.caller, peer.target.caller, 'x-forwarded-client-cert');
});

// ---- statuses

test('status with Unicode', async (peer) => {
  for (const code of range(16).map((i) => i + 1)) {
    const message = `${code}: ${UNICODE}`;
    await outcome(peer.unary({ code, message }), code, message);
  }
});

test('status without text', async (peer) => {
  await outcome(peer.unary({ code: 5 }), 5, '');
});

test('status with trailers', async (peer) => {
  const text = ['why', 'and more'];
  const binary = [Buffer.from([0, 255])];
  const metadata = sent(text, binary);
  const end = { code: 9, message: UNICODE };
  const calls = [peer.unary(end, metadata), peer.up(requests(end), metadata),
    peer.down({ count: 1, ...end }, metadata), peer.both(requests(end), metadata)];
  for (const it of calls) {
    const got = await echoed(it, 9, text, binary);
    same(got.status.details, UNICODE, 'text of the status');
  }
});

test('status after messages', async (peer) => {
  const down = peer.down({ count: 50, reply_bytes: 5000, code: 10, message: UNICODE });
  same((await outcome(down, 10, UNICODE)).messages, range(50).map((i) => reply(pattern(i, 5000), i)), 'replies');
  const asked = [...range(50).map((i) => ({ payload: Buffer.from(`${i}`) })), { code: 11, message: UNICODE }];
  const want = [...range(50).map((i) => reply(`${i}`, i)), reply('', 50)];
  same((await outcome(peer.both(asked), 11, UNICODE)).messages, want, 'replies');
});

test('status while the client sends', async (peer) => {
  const it = peer.up();
  it.call.write({ payload: Buffer.from('x') });
  it.call.write({ code: 3, message: UNICODE });
  await outcome(it, 3, UNICODE); // the client's half stays open
});

test('unimplemented', async (peer) => {
  const { requestSerialize, responseDeserialize } = InteropService.service.Missing;
  for (const path of [InteropService.service.Missing.path, '/test.interop.v1.Nowhere/Call']) {
    const status = await new Promise((done) => {
      peer.client.makeUnaryRequest(path, requestSerialize, responseDeserialize, {}, () => {}).on('status', done);
    });
    same(status.code, UNIMPLEMENTED, 'status');
    same(status.details !== '', true, 'there is a text');
  }
});

async function main() {
  let failed = 0;
  for (const target of JSON.parse(process.argv[2])) {
    const peer = new Peer(target);
    for (const { name, run } of CASES) {
      if (process.argv[3] && !name.includes(process.argv[3])) continue;
      let timer;
      const late = new Promise((_, no) => { timer = setTimeout(() => no(new Error('no end after 60 s')), 60000); });
      try {
        await Promise.race([run(peer), late]);
        console.log(`ok ${target.name}: ${name}`);
      } catch (error) {
        failed++;
        console.log(`FAILED ${target.name}: ${name}: ${String(error.message).replaceAll('\n', '\\n')}`);
      }
      clearTimeout(timer);
    }
    peer.client.close();
  }
  process.exit(failed ? 1 : 0);
}

main();
