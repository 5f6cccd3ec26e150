/** What was sent live, kept to be downloaded as a WAV file. */

const FRAMES_IN_MEMORY = 512;
const HEADER_BYTES = 44;

export class Recording {
  constructor() {
    this.clear();
  }

  /** Forget it. */
  clear() {
    this.rate = null;
    this.bytes = 0;
    this.blobs = [];
    this.frames = [];
  }

  get empty() {
    return this.bytes === 0;
  }

  /** Keep a frame; one of another rate than the first begins anew. */
  add(frame, rate) {
    if (this.rate !== null && this.rate !== rate) this.clear();
    this.rate = rate;
    this.frames.push(frame);
    this.bytes += frame.byteLength;
    if (this.frames.length >= FRAMES_IN_MEMORY) {
      this.blobs.push(new Blob(this.frames)); // browsers keep what is large on disk
      this.frames = [];
    }
  }

  /** 16-bit mono WAV. */
  wav() {
    return new Blob([header(this.bytes, this.rate), ...this.blobs, ...this.frames], { type: "audio/wav" });
  }
}

function header(bytes, rate) {
  const view = new DataView(new ArrayBuffer(HEADER_BYTES));
  const name = (at, text) => [...text].forEach((sign, i) => view.setUint8(at + i, sign.charCodeAt(0)));
  name(0, "RIFF");
  view.setUint32(4, HEADER_BYTES - 8 + bytes, true);
  name(8, "WAVEfmt ");
  view.setUint32(16, 16, true);
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, rate, true);
  view.setUint32(28, rate * 2, true);
  view.setUint16(32, 2, true);
  view.setUint16(34, 16, true);
  name(36, "data");
  view.setUint32(40, bytes, true);
  return view;
}
