'use strict';
// The Node server of test_interop.py: server.js ADDRESS. What it does is in proto/test/interop/v1/interop.proto.
const fs = require('fs');
const { grpc, InteropService, TEXT, BIN } = require('./contract.js');

const seen = new Map();
const pattern = Buffer.alloc(256 + (16 << 20), Buffer.from(Array.from({ length: 256 }, (_, i) => i)));

function counters(key) {
  if (!seen.has(key)) seen.set(key, { entered: 0, ended: 0, cancelled: 0 });
  return seen.get(key);
}

// Counts one call: enter once, end once, however it ends.
class Note {
  constructor(call) {
    this.at = null;
    this.done = false;
    call.on('cancelled', () => this.end(1));
  }

  enter(key) {
    if (this.at) return;
    this.at = counters(key);
    this.at.entered++;
  }

  end(cancelled = 0) {
    if (this.done) return;
    this.done = true;
    if (!this.at) return;
    this.at.ended++;
    this.at.cancelled += cancelled;
  }
}

function echoed(call) {
  const back = new grpc.Metadata();
  for (const key of [TEXT, BIN]) for (const value of call.metadata.get(key)) back.add(key, value);
  return back;
}

function leftMs(call) {
  const deadline = call.getDeadline();
  return Number.isFinite(Number(deadline)) ? Math.max(0, Math.floor(Number(deadline) - Date.now())) : -1;
}

function tell(call) {
  return {
    left_ms: leftMs(call),
    left_later_ms: leftMs(call),
    text: call.metadata.get(TEXT).map((value) => Buffer.from(value)),
    bin: call.metadata.get(BIN),
    caller: call.metadata.get('x-forwarded-client-cert').join(''),
  };
}

function fill(call, request, number) {
  const size = request.reply_bytes;
  const reply = { payload: size ? pattern.subarray(number % 256, (number % 256) + size) : request.payload };
  if (number) reply.number = number; // a 0 would be written out, and 4 MiB are 4 MiB
  if (request.tell) reply.tell = tell(call);
  return reply;
}

const failure = (request, metadata) => ({ code: request.code, details: request.message, metadata });

function wait(call, ms, then) {
  if (!ms) return then();
  const timer = setTimeout(() => !call.cancelled && then(), ms);
  call.on('cancelled', () => clearTimeout(timer));
}

// ---- handlers

function unary(call, answer) {
  const { request } = call;
  const note = new Note(call);
  const metadata = echoed(call);
  note.enter(request.key);
  call.sendMetadata(metadata);
  const reply = fill(call, request, 0);
  wait(call, request.wait_ms, () => {
    note.end();
    if (request.code) return answer(failure(request, metadata));
    if (reply.tell) reply.tell.left_later_ms = leftMs(call);
    answer(null, reply, metadata);
  });
}

function retried(call, answer) {
  const { request } = call;
  const note = new Note(call);
  note.enter(request.key);
  const first = counters(request.key).entered === 1;
  wait(call, first ? request.wait_ms : 0, () => {
    note.end();
    if (first) return answer({ code: grpc.status.UNAVAILABLE, details: 'not yet' });
    const metadata = echoed(call);
    call.sendMetadata(metadata);
    answer(null, fill(call, request, 0), metadata);
  });
}

function up(call, answer) {
  const note = new Note(call);
  const metadata = echoed(call);
  const parts = [];
  const reply = { number: 0 };
  let longest = 0;
  call.sendMetadata(metadata);
  call.on('data', (request) => {
    if (note.done) return;
    note.enter(request.key);
    reply.number++;
    parts.push(request.payload);
    longest = Math.max(longest, request.wait_ms);
    if (request.tell) reply.tell = tell(call);
    if (!request.code) return;
    note.end();
    answer(failure(request, metadata));
  });
  call.on('error', () => {});
  call.on('end', () => {
    if (note.done) return;
    wait(call, longest, () => {
      note.end();
      reply.payload = Buffer.concat(parts);
      answer(null, reply, metadata);
    });
  });
}

function down(call) {
  const { request } = call;
  const note = new Note(call);
  const metadata = echoed(call);
  let number = 0;
  note.enter(request.key);
  call.sendMetadata(metadata);
  const finish = () => {
    note.end();
    if (request.code) call.emit('error', failure(request, metadata));
    else call.end(metadata);
  };
  const more = () => {
    while (number < request.count && !call.cancelled)
      if (!call.write(fill(call, request, number++))) return call.once('drain', more);
    if (!call.cancelled) wait(call, request.wait_ms, finish);
  };
  more();
}

function both(call) {
  const note = new Note(call);
  const metadata = echoed(call);
  let number = 0;
  let longest = 0;
  call.sendMetadata(metadata);
  call.on('data', (request) => {
    if (note.done) return;
    note.enter(request.key);
    longest = Math.max(longest, request.wait_ms);
    if (!call.write(fill(call, request, number++))) {
      call.pause();
      call.once('drain', () => call.resume());
    }
    if (!request.code) return;
    note.end();
    call.emit('error', failure(request, metadata));
  });
  call.on('error', () => {});
  call.on('end', () => {
    if (note.done) return;
    wait(call, longest, () => {
      note.end();
      call.end(metadata);
    });
  });
}

const server = new grpc.Server();
server.addService(InteropService.service, {
  Empty: (call, answer) => answer(null, {}),
  Unary: unary,
  Retried: retried,
  Up: up,
  Down: down,
  Both: both,
  Seen: (call, answer) => answer(null, counters(call.request.key)),
});
server.bindAsync(process.argv[2], grpc.ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
  fs.writeSync(Number(process.env.WEFT_READY_FD), '\n');
});
