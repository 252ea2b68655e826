/**
 * Reads a capture file from whatever chunks it comes in: pcap or pcapng, told apart by their first
 * bytes. Files come from outside, so every length is checked before it is believed, at most
 * `MAX_BLOCK_BYTES` are held, and what is longer is stepped over and reported.
 *
 * No I/O here: the caller pushes chunks and gets items.
 */
import type { CaptureFormat, CaptureItem, Found } from './captured-frame.js'
import { pcapFormat } from './pcap-format.js'
import { pcapngFormat } from './pcapng-format.js'

export interface CaptureReader {
  /** What can be told with this chunk, in order. The frames are copies. */
  push(chunk: Uint8Array): CaptureItem[]
  /** The file is over: a fault if it stops in the middle of something. */
  end(): CaptureItem[]
  /** True once nothing more can be understood; pushing on is harmless. */
  readonly over: boolean
}

export function createCaptureReader(): CaptureReader {
  let format: CaptureFormat | undefined
  let window = new Uint8Array(0)
  /** Place of the window in the file. */
  let offset = 0
  let toSkip = 0
  let frames = 0
  let over = false
  let empty = true

  function numbered(found: Found): CaptureItem {
    if (found.kind === 'frame') {
      frames += 1
      return { ...found, number: frames, bytes: found.bytes.slice() }
    }
    const { code, field, at, counts } = found
    const number = frames + 1
    if (counts) frames = number
    return { kind: 'fault', number, code, offset: offset + at, field }
  }

  function drop(bytes: number): void {
    const here = Math.min(bytes, window.length)
    window = window.subarray(here)
    offset += here
    toSkip = bytes - here
  }

  return {
    push(chunk) {
      const items: CaptureItem[] = []
      if (over) return items
      empty &&= chunk.length === 0
      window = window.length === 0 ? Uint8Array.from(chunk) : joined(window, chunk)
      drop(toSkip)
      while (!over && toSkip === 0) {
        format ??= window.length < MAGIC_BYTES ? undefined : formatOf(window)
        if (format === undefined && window.length < MAGIC_BYTES) break
        const step = format === undefined ? FOREIGN : format.next(window)
        if (step.kind === 'more') break
        if (step.found !== undefined) items.push(numbered(step.found))
        if (step.kind === 'taken') drop(step.bytes)
        else over = true
      }
      return items
    },
    end() {
      const foreign = format === undefined
      const cut = window.length > 0 || toSkip > 0
      if (over || (!foreign && !cut)) return []
      over = true
      const code = foreign ? 'not-a-capture' : 'truncated'
      const field = empty ? 'empty file' : foreign ? 'Magic Number' : 'end of file'
      const at = window.length
      return [numbered({ kind: 'fault', code, field, at, counts: false })]
    },
    get over() {
      return over
    },
  }
}

const MAGIC_BYTES = 4

const FOREIGN = {
  kind: 'over',
  found: { kind: 'fault', code: 'not-a-capture', field: 'Magic Number', at: 0, counts: false },
} as const

function formatOf(window: Uint8Array): CaptureFormat | undefined {
  return pcapngFormat(window) ?? pcapFormat(window)
}

function joined(first: Uint8Array, second: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(first.length + second.length)
  whole.set(first)
  whole.set(second, first.length)
  return whole
}
