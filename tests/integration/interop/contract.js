'use strict';
// The contract of test_interop.py, loaded at run time. Its folder is INTEROP_PROTO; grpc-js is found through NODE_PATH.
const grpc = require('@grpc/grpc-js');
const loader = require('@grpc/proto-loader');

const TEXT = 'x-interop-text';
const BIN = 'x-interop-bin';

const definition = loader.loadSync('test/interop/v1/interop.proto', {
  includeDirs: [process.env.INTEROP_PROTO, '/usr/include'],
  keepCase: true,
  longs: Number,
  defaults: true,
});
const { InteropService } = grpc.loadPackageDefinition(definition).test.interop.v1;

module.exports = { grpc, InteropService, TEXT, BIN };
