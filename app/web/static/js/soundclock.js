/** When a moment of the sound was heard, by the clock on the wall: what delays are counted from. */

export class SoundClock {
  /** @param {number} speed seconds of sound in a second */
  constructor(speed = 1) {
    this.speed = speed;
    this.ends = [];
    this.times = [];
    this.seconds = 0;
  }

  /** `seconds` more of sound ended just now. */
  add(seconds, now = performance.now() / 1000) {
    this.seconds += seconds;
    this.ends.push(this.seconds);
    this.times.push(now);
  }

  /** Seconds since `position` of the sound was heard; null before there is any. */
  since(position, now = performance.now() / 1000) {
    if (this.ends.length === 0) return null;
    let low = 0;
    let high = this.ends.length - 1;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.ends[middle] < position) low = middle + 1;
      else high = middle;
    }
    const inside = Math.max(0, this.ends[low] - position) / this.speed;
    return Math.max(0, now - this.times[low] + inside);
  }
}
