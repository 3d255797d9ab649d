/**
 * Read a code with the camera, where the browser brings a reader of its own (`BarcodeDetector`);
 * elsewhere `canScan` is false and the code is typed. Nothing is loaded for it.
 */
import { onScopeDispose, ref, shallowRef, type Ref } from "vue";

interface Detector {
  detect(source: HTMLVideoElement): Promise<{ rawValue: string }[]>;
}
type DetectorClass = new (how: { formats: string[] }) => Detector;

const LOOK_EVERY_MS = 250;
const FORMATS = ["qr_code", "code_128"];

export const canScan = "BarcodeDetector" in window && !!navigator.mediaDevices?.getUserMedia;

/** `found` hears one code, then the camera is off. `isLost`: the camera could not be had. */
export function useScanner(video: Ref<HTMLVideoElement | null>, found: (code: string) => void) {
  const isOn = ref(false);
  const isLost = ref(false);
  const stream = shallowRef<MediaStream | null>(null);
  let timer: ReturnType<typeof setTimeout> | undefined;

  async function start(): Promise<void> {
    isLost.value = false;
    isOn.value = true;
    try {
      const got = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
      if (!isOn.value) return got.getTracks().forEach((track) => track.stop());
      stream.value = got;
      const shown = video.value;
      if (!shown) return stop();
      shown.srcObject = got;
      await shown.play();
      const Reader = (window as unknown as { BarcodeDetector: DetectorClass }).BarcodeDetector;
      look(new Reader({ formats: FORMATS }), shown);
    } catch {
      stop();
      isLost.value = true;
    }
  }

  function look(reader: Detector, shown: HTMLVideoElement): void {
    clearTimeout(timer);
    timer = setTimeout(async () => {
      const codes = await reader.detect(shown).catch(() => []);
      const code = codes[0]?.rawValue;
      if (!isOn.value) return;
      if (!code) return look(reader, shown);
      stop();
      found(code);
    }, LOOK_EVERY_MS);
  }

  function stop(): void {
    clearTimeout(timer);
    isOn.value = false;
    stream.value?.getTracks().forEach((track) => track.stop());
    stream.value = null;
  }
  onScopeDispose(stop);
  return { isOn, isLost, start, stop };
}
