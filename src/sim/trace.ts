/**
 * What happened, one line per event, and a 64-bit hash (FNV-1a) of all lines: equal hashes, equal
 * runs, on every machine. The last lines are kept for the report of a failure; all go to `onLine`.
 */

export interface Trace {
  line(text: string): void
  /**
   * A line about a packet: there are so many that only the numbers are hashed, and the text is made
   * when somebody reads it. `at` in ms, `what` a constant word.
   */
  packet(at: number, what: string, flow: number, sequence: number, text: () => string): void
  /** A line about a datagram: its bytes are hashed, the text is made when somebody reads it. */
  message(at: number, from: string, to: string, bytes: Uint8Array, text: () => string): void
  /** 16 hexadecimal digits. */
  hash(): string
  /** The last lines, oldest first. */
  tail(): readonly string[]
  count(): number
}

export function createTrace(onLine?: (text: string) => void): Trace {
  let [high, low] = [0xcbf29ce4, 0x84222325]
  let count = 0
  const kept: (() => string)[] = []

  function mix(word: number): void {
    low = (low ^ word) >>> 0
    // × 0x100000001b3: the low word's product stays below 2^53.
    const product = low * 0x1b3
    high = (Math.imul(high, 0x1b3) + Math.floor(product / 2 ** 32) + (low << 8)) >>> 0
    low = product >>> 0
  }

  function keep(text: () => string): void {
    kept[count % KEPT_LINES] = text
    count += 1
    onLine?.(text())
  }

  return {
    line(text) {
      for (let index = 0; index < text.length; index += 1) mix(text.charCodeAt(index))
      // The end of a line counts as well, or two lines could pass for one.
      mix(LINE_FEED)
      keep(() => text)
    },
    packet(at, what, flow, sequence, text) {
      mix(Math.round(at * 1000) >>> 0)
      mix(flow)
      mix(sequence)
      for (let index = 0; index < what.length; index += 1) mix(what.charCodeAt(index))
      keep(text)
    },
    message(at, from, to, bytes, text) {
      mix(Math.round(at * 1000) >>> 0)
      for (let index = 0; index < from.length; index += 1) mix(from.charCodeAt(index))
      for (let index = 0; index < to.length; index += 1) mix(to.charCodeAt(index))
      mix(bytes.length)
      // Four at a time: datagrams are most of a trace.
      for (let index = 0; index < bytes.length; index += 4)
        mix(
          ((bytes[index]! << 24) |
            ((bytes[index + 1] ?? 0) << 16) |
            ((bytes[index + 2] ?? 0) << 8) |
            (bytes[index + 3] ?? 0)) >>>
            0,
        )
      keep(text)
    },
    hash: () => high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0'),
    tail() {
      const start = count % KEPT_LINES
      const inOrder = count <= KEPT_LINES ? kept : [...kept.slice(start), ...kept.slice(0, start)]
      return inOrder.map((text) => text())
    },
    count: () => count,
  }
}

const LINE_FEED = 10
/** Enough to see the last move. */
const KEPT_LINES = 400
