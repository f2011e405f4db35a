// Collects the microphone's samples into blocks of 0.1 s and posts them as 16-bit integers.
class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.block = new Int16Array(Math.round(sampleRate / 10));
    this.filled = 0;
    this.power = 0;
  }

  process(inputs) {
    const channel = inputs[0][0];
    if (!channel) return true;
    for (const sample of channel) {
      this.power += sample * sample;
      this.block[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(sample * 32768)));
      if (this.filled === this.block.length) {
        const level = 10 * Math.log10(this.power / this.filled + 1e-12);
        this.port.postMessage({ samples: this.block.buffer, level }, [this.block.buffer]);
        this.block = new Int16Array(Math.round(sampleRate / 10));
        this.filled = 0;
        this.power = 0;
      }
    }
    return true;
  }
}
registerProcessor("capture", Capture);
