/**
 * What `decode` and `capture` share: frames in, lines out, and a count of what they were.
 */
import { createHmac } from 'node:crypto'
import type { CapturedFrame, CaptureFault } from '../capture/captured-frame.js'
import { createDissector, type Dissection } from '../capture/dissect.js'
import { packetJson } from '../capture/packet-json.js'
import { packetText } from '../capture/packet-text.js'
import { formatConfigErrors } from '../config/config-error.js'
import { loadKeyFile } from '../config/key-file.js'
import type { AuthenticationKey, Hmac } from '../lisp/authentication.js'
import { coloured } from './columns.js'
import { type CommandContext, textOption } from './command.js'
import { CliFailure } from './failure.js'

export interface PacketOutput {
  /** Prints the packet if it is LISP. */
  show(frame: CapturedFrame): void
  /** Prints that a part of the file could not be read. */
  fault(fault: CaptureFault): void
  /** `12 frames: 8 control, 1 malformed, 3 not LISP`. */
  summary(): string
}

/** Throws a `CliFailure` (exit code 2) for a bad key file. */
export function createPacketOutput(context: CommandContext): PacketOutput {
  const keyFile = textOption(context, 'keys')
  const keys = keyFile === undefined ? undefined : readKeys(keyFile)
  const dissector = createDissector(keys === undefined ? {} : { keys, hmac })
  const counts = new Map<string, number>()
  const count = (what: string): void => {
    counts.set(what, (counts.get(what) ?? 0) + 1)
  }
  return {
    show(frame) {
      const packet = dissector.dissect(frame)
      for (const what of categoriesOf(packet)) count(what)
      if (context.json) {
        const shown = packetJson(frame.number, frame.at, packet)
        if (shown !== undefined) context.print(JSON.stringify(shown))
        return
      }
      const line = packetText(frame.number, frame.at, packet)
      if (line === undefined) return
      const tint = colourOf(packet)
      context.print(tint === undefined ? line : coloured(context.colour, tint, line))
    },
    fault({ number, code, offset, field }) {
      count('malformed')
      if (context.json) {
        context.print(JSON.stringify({ frame: number, error: { code, offset, field } }))
        return
      }
      const place = `byte ${offset} of the file (${field})`
      const line = `${String(number).padStart(6)}  ${'-'.padEnd(15)}  unreadable: ${code} at ${place}`
      context.print(coloured(context.colour, 'red', line))
    },
    summary() {
      const parts = CATEGORIES.filter((what) => counts.has(what)).map(
        (what) => `${counts.get(what)} ${what}`,
      )
      return parts.length === 0 ? 'no frames' : parts.join(', ')
    },
  }
}

const CATEGORIES = [
  'control',
  'data',
  'about groups',
  'fragments',
  'malformed',
  'wrongly authenticated',
  'not LISP',
  'of an unknown link type',
] as const

const hmac: Hmac = (hash, key, data) => createHmac(hash, key).update(data).digest()

function categoriesOf(packet: Dissection): readonly (typeof CATEGORIES)[number][] {
  switch (packet.kind) {
    case 'control': {
      const { message, authentication, inner } = packet.control
      if (message.kind === 'malformed') return ['malformed']
      const failed = authentication === 'failed' || inner?.authentication === 'failed'
      return failed ? ['control', 'wrongly authenticated'] : ['control']
    }
    case 'reliable': {
      const { items } = packet
      if (items.some(({ message }) => message.kind === 'malformed')) return ['malformed']
      const failed = items.some(({ register }) => register?.authentication === 'failed')
      return failed ? ['control', 'wrongly authenticated'] : ['control']
    }
    case 'data':
      return ['data']
    case 'multicast':
      return packet.message.kind === 'malformed' ? ['malformed'] : ['about groups']
    case 'fragment':
      return ['fragments']
    case 'fault':
      return ['malformed']
    case 'other':
      return packet.why === 'link-type' ? ['of an unknown link type'] : ['not LISP']
  }
}

function colourOf(packet: Dissection): 'red' | 'dim' | undefined {
  const what = categoriesOf(packet)
  if (what.includes('malformed') || what.includes('wrongly authenticated')) return 'red'
  return packet.kind === 'data' || packet.kind === 'fragment' ? 'dim' : undefined
}

function readKeys(file: string): readonly AuthenticationKey[] {
  const result = loadKeyFile(file)
  if (result.ok) return result.keys
  throw new CliFailure(formatConfigErrors(file, result.errors), undefined, 2)
}
