/**
 * Frames that arrive at interfaces of this network namespace, by tcpdump. A marker sent after them says
 * that all before it have come: nothing is waited for by time. One process an interface, started with
 * the first question.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { createCaptureReader } from '../../src/capture/capture-reader.js'
import { ethernet } from './frames.js'

/** The kernel's own chatter is no part of any test. */
const UDP_FILTER = 'udp and not port 5353'
const MARKER_TYPE = 0x88b5
const MARKER_MAC = '02:0e:0e:0e:0e:0e'
const PATIENCE_MS = 10_000

interface Tap {
  readonly child: ChildProcess
  readonly frames: Uint8Array[]
  listening: boolean
}

export interface FrameCapture<Name extends string> {
  /** What has arrived since the last call, markers left out. */
  take(): Promise<Record<Name, Uint8Array[]>>
  close(): void
}

/** `ends`: by interface, how to send a frame that arrives there. `filter` as tcpdump has it. */
export function createFrameCapture<Name extends string>(
  ends: Readonly<Record<Name, (frame: Uint8Array) => void>>,
  filter: string = UDP_FILTER,
): FrameCapture<Name> {
  const names = Object.keys(ends) as Name[]
  const taps = new Map<Name, Tap>()
  let round = 0

  async function until(holds: () => boolean): Promise<void> {
    const end = performance.now() + PATIENCE_MS
    while (!holds()) {
      if (performance.now() > end) throw new Error('nothing is captured')
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  }

  async function start(): Promise<void> {
    for (const name of names) if (!taps.has(name)) taps.set(name, open(name, filter))
    await until(() => [...taps.values()].every(({ listening }) => listening))
  }

  return {
    async take() {
      if (taps.size === 0) await start()
      round += 1
      const marker = ethernet(MARKER_MAC, MARKER_MAC, MARKER_TYPE, new Uint8Array(50).fill(round))
      const taken = {} as Record<Name, Uint8Array[]>
      for (const name of names) {
        const { frames } = taps.get(name)!
        ends[name](marker)
        const isMarker = (one: Uint8Array) => String(one) === String(marker)
        await until(() => frames.some(isMarker))
        taken[name] = frames.splice(0, frames.findIndex(isMarker) + 1).slice(0, -1)
      }
      return taken
    },
    close() {
      for (const { child } of taps.values()) child.kill()
    },
  }
}

function open(name: string, filter: string): Tap {
  // With the default length of a packet the ring has room for eight.
  const ring = ['--immediate-mode', '-s', '2048', '-B', '16384']
  const words = `ether proto ${MARKER_TYPE} or (${filter})`
  const options = [...ring, '-U', '-n', '-Q', 'in', '-i', name, '-w', '-', words]
  const child = spawn('tcpdump', options, { stdio: ['ignore', 'pipe', 'pipe'] })
  const tap: Tap = { child, frames: [], listening: false }
  const reader = createCaptureReader()
  child.stderr!.on('data', (text: Buffer) => {
    if (String(text).includes('listening on')) tap.listening = true
  })
  child.stdout!.on('data', (chunk: Buffer) => {
    for (const item of reader.push(chunk)) if (item.kind === 'frame') tap.frames.push(item.bytes)
  })
  return tap
}
