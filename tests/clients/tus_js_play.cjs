/* Has tus-js-client upload a file, and go on with what it remembers of it. NODE_PATH says where its packages are.

Its one argument is JSON: `endpoint`, `key`, `file`, `chunk` (bytes a request), `memory` (a file where it remembers
uploads), `live` (read the file once, as a stream of unknown length), `options` (more of its own). Prints the upload's URL as soon as it has one, and "done" at the end. */

"use strict";

const fs = require("node:fs");
const { PassThrough } = require("node:stream");
const { FileUrlStorage, Upload } = require("tus-js-client");

const given = JSON.parse(process.argv[2]);
const file = fs.createReadStream(given.file);
const upload = new Upload(given.live ? file.pipe(new PassThrough()) : file, {
  uploadLengthDeferred: given.live,
  endpoint: given.endpoint,
  headers: { Authorization: `Bearer ${given.key}` },
  metadata: { filename: "会议.wav", filetype: "audio/wav" },
  chunkSize: given.chunk,
  retryDelays: Array(240).fill(1000),
  urlStorage: new FileUrlStorage(given.memory),
  fingerprint: async () => "the one file",
  onUploadUrlAvailable: () => console.log(upload.url),
  onSuccess: () => console.log("done"),
  onError: (error) => {
    console.error(String(error));
    process.exitCode = 1;
  },
  ...given.options,
});

upload.findPreviousUploads().then((before) => {
  if (before.length > 0) upload.resumeFromPreviousUpload(before[0]);
  upload.start();
});
