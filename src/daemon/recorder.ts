/**
 * Journals on disk: which file, how large, how many, and never in the way of the node.
 *
 * Steps wait in a list of bounded length and are encoded when the event loop has nothing more urgent
 * to do; the file is written by a stream. One journal is the life of one node: it begins with
 * `restored`, because a node cannot be written down half-way. When a journal has its share of
 * `maximumBytes`, `onFull` is asked for a new node from store and maps, as a reload makes one, and
 * with it a new journal begins; the oldest files go. A journal that cannot keep up, or whose node is
 * not renewed, ends, and the log says so: what is missing in the middle could not be replayed.
 */
import {
  createWriteStream,
  mkdirSync,
  readdirSync,
  rmSync,
  statSync,
  type WriteStream,
} from 'node:fs'
import { join } from 'node:path'
import type { NodeConfig } from '../config/node-config.js'
import type { Capabilities } from '../control/capabilities.js'
import type { Node } from '../control/input-output.js'
import {
  createJournalEncoder,
  encodeJson,
  JOURNAL_FORMAT,
  type JournalEncoder,
  type JournalEnd,
  withoutSecrets,
} from '../journal/journal-format.js'
import { createRecordedNode, journalStep, type TakenStep } from '../journal/recorded-node.js'
import type { Clock } from './clock-and-random.js'
import type { Log } from './log.js'

export interface Recorder {
  /** A node whose life is a new journal; the one before it ends. */
  createNode(config: NodeConfig, capabilities: Capabilities): Node
  /** Resolves when everything is written. */
  close(): Promise<void>
}

export interface RecorderOptions {
  readonly directory: string
  /** All journals of the directory together, in bytes. */
  readonly maximumBytes: number
  readonly node: string
  readonly version: string
  readonly clock: Clock
  readonly say: Log['say']
  /** Called again and again until a new node is made; at most once a second. */
  readonly onFull: () => void
}

interface Journal {
  readonly path: string
  readonly stream: WriteStream
  readonly encoder: JournalEncoder
  bytes: number
  ended: boolean
}

/** Throws when the directory cannot be made. */
export function createRecorder(options: RecorderOptions): Recorder {
  const { directory, maximumBytes, clock, say } = options
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const share = Math.floor(maximumBytes / JOURNALS)
  let journal: Journal | undefined
  let waiting: TakenStep[] = []
  let scheduled = false
  let askedAt = Number.NEGATIVE_INFINITY
  let count = 0

  function write(to: Journal, text: string): void {
    to.bytes += text.length
    to.stream.write(text)
  }

  function end(to: Journal, why: JournalEnd['end']): void {
    if (to.ended) return
    to.ended = true
    write(to, to.encoder.end({ end: why }))
    to.stream.end()
    if (why !== 'stopped') say('warning', 'recording-ended', { journal: to.path, reason: why })
  }

  function encode(to: Journal, step: TakenStep): void {
    // Only what is restored can be large; asked first, as an encoded line must be written.
    const isLarge = step.input.kind === 'restored' && encodeJson(step.input).length > share
    if (isLarge) end(to, 'too-large')
    else if (to.bytes > share * LONGEST_SHARES) end(to, 'full')
    else if (to.stream.writableLength > MAXIMUM_UNWRITTEN_BYTES) end(to, 'too-fast')
    else write(to, to.encoder.step(journalStep(step)))
  }

  function encodeSome(): void {
    scheduled = false
    const steps = waiting.splice(0, STEPS_AT_ONCE)
    if (journal !== undefined) for (const step of steps) if (!journal.ended) encode(journal, step)
    if (waiting.length > 0) schedule()
    askForNewNode()
  }

  function askForNewNode(): void {
    if (journal === undefined || journal.ended || journal.bytes <= share) return
    if (clock.now() - askedAt < ASK_EVERY_MS) return
    askedAt = clock.now()
    options.onFull()
  }

  function schedule(): void {
    if (scheduled) return
    scheduled = true
    setImmediate(encodeSome)
  }

  function keep(to: Journal, step: TakenStep): void {
    if (to.ended) return
    if (waiting.length >= MAXIMUM_WAITING_STEPS) {
      waiting = []
      end(to, 'too-fast')
      return
    }
    waiting.push(step)
    schedule()
  }

  function flush(): void {
    if (journal === undefined) return
    for (const step of waiting.splice(0)) if (!journal.ended) encode(journal, step)
    end(journal, 'stopped')
  }

  return {
    createNode(config, capabilities) {
      flush()
      removeOldest(directory, maximumBytes - share * LONGEST_SHARES)
      const wall = clock.wallClock()
      count += 1
      const path = join(directory, journalName(options.node, wall, count))
      const stream = createWriteStream(path, { mode: 0o600 })
      const made: Journal = {
        path,
        stream,
        encoder: createJournalEncoder(),
        bytes: 0,
        ended: false,
      }
      stream.on('error', (cause) => {
        made.ended = true
        say('error', 'recording-failed', { journal: path, why: String(cause) })
      })
      write(
        made,
        made.encoder.header({
          journal: 'godwit',
          format: JOURNAL_FORMAT,
          version: options.version,
          node: options.node,
          startedAt: wall,
          startedNow: clock.now(),
          config: withoutSecrets(config),
        }),
      )
      journal = made
      return createRecordedNode(config, capabilities, (step) => keep(made, step))
    },
    async close() {
      flush()
      const { stream } = journal ?? {}
      if (stream === undefined || stream.closed) return
      await new Promise<void>((resolve) => stream.once('close', () => resolve()))
    },
  }
}

/** `cloud-a-20250102T030405678Z-1.journal`: names sort by time within one node. */
function journalName(node: string, wallClock: number, count: number): string {
  const at = new Date(wallClock).toISOString().replace(/[-:.]/g, '')
  return `${node}-${at}-${count}${SUFFIX}`
}

function removeOldest(directory: string, keepBytes: number): void {
  const files = readdirSync(directory)
    .filter((name) => name.endsWith(SUFFIX))
    .map((name) => {
      const { size, mtimeMs } = statSync(join(directory, name))
      return { name, size, mtimeMs }
    })
    .sort((a, b) => b.mtimeMs - a.mtimeMs)
  let bytes = 0
  for (const { name, size } of files) {
    bytes += size
    if (bytes > keepBytes) rmSync(join(directory, name), { force: true })
  }
}

const SUFFIX = '.journal'
/** Choice: the last journals of several lives stay, and none is too long to be read. */
const JOURNALS = 4
/** A journal may become twice its share while a move keeps its node from being renewed. */
const LONGEST_SHARES = 2
/** Choice: a second of a busy node; its datagrams are 1.4 KB at most. */
const MAXIMUM_WAITING_STEPS = 20_000
const MAXIMUM_UNWRITTEN_BYTES = 16 << 20
/** Choice: about half a millisecond of work, then packets have their turn again. */
const STEPS_AT_ONCE = 32
const ASK_EVERY_MS = 1000
