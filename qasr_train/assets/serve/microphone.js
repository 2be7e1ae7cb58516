// Hands the microphone's samples to the page: mono, 16-bit, at the rate of the device, some 40 ms at a time.
const NUM_SAMPLES = 2048;

class Microphone extends AudioWorkletProcessor {
  constructor() {
    super();
    this.samples = new Int16Array(NUM_SAMPLES);
    this.numHeld = 0;
    this.peak = 0;
    this.hasEnded = false;
    this.port.onmessage = () => { this.flush(); this.hasEnded = true; this.port.postMessage({ ended: true }); };
  }

  process(inputs) {
    const channels = inputs[0];
    const length = channels.length ? channels[0].length : 0;
    for (let i = 0; i < length; i++) {
      let value = 0;
      for (const channel of channels) value += channel[i];
      value = Math.max(-1, Math.min(1, value / channels.length));
      this.peak = Math.max(this.peak, Math.abs(value));
      this.samples[this.numHeld++] = Math.round(value * 32767);
      if (this.numHeld === NUM_SAMPLES) this.flush();
    }
    return !this.hasEnded;
  }

  flush() {
    if (!this.numHeld) return;
    const sound = this.samples.slice(0, this.numHeld).buffer;
    this.port.postMessage({ sound, peak: this.peak }, [sound]);
    this.numHeld = 0;
    this.peak = 0;
  }
}

registerProcessor("microphone", Microphone);
