/**
 * `godwit capture`: LISP packets from an interface, decoded to the terminal or into a pcap file.
 *
 * Packets come through the optional package `cap` (libpcap). It is for diagnosis: measured, it
 * loses packets above some 60,000 a second, cuts super-packets at 65535 bytes and brings no
 * timestamps, so that times here are those of reading, typically within a millisecond.
 */
import { closeSync, openSync, writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import { networkInterfaces } from 'node:os'
import { type CapturedFrame, LINK_TYPE } from '../../capture/captured-frame.js'
import { pcapFileHeader, pcapRecord } from '../../capture/pcap-format.js'
import { type CliCommand, type CommandContext, numberOption, textOption } from '../command.js'
import { CliFailure } from '../failure.js'

/**
 * Both ports of both transports, and every fragment that may belong to one: of later fragments
 * nothing but the addresses is known.
 */
const CAPTURE_FILTER =
  'port 4341 or port 4342 or (ip[6:2] & 0x1fff != 0 and ip proto 17) or ip6 proto 44'

export const captureCommands: readonly CliCommand[] = [
  {
    usage: 'capture <interface>',
    summary: 'capture and explain LISP packets of an interface (root); Ctrl-C ends it',
    needsDaemon: false,
    options: [
      ['--out <file>', 'write a pcap file instead of printing'],
      ['--count <number>', 'stop after so many packets'],
      ['--seconds <number>', 'stop after so long'],
      [
        '--keys <file>',
        'YAML list of {id, algorithm, secretFile or secret}: verify authentication',
      ],
    ],
    examples: [
      'godwit capture eth0',
      'godwit capture eth0 --out incident.pcap --seconds 60',
      'godwit lab exec cloud-a -- godwit capture core0 --json --count 10',
    ],
    run: runCapture,
  },
]

async function runCapture(context: CommandContext): Promise<void> {
  const { createPacketOutput } = await import('../packet-output.js')
  const output = createPacketOutput(context)
  const name = String(context.arguments[0])
  const count = numberOption(context, 'count') ?? Number.POSITIVE_INFINITY
  const seconds = numberOption(context, 'seconds')
  const file = textOption(context, 'out')
  const live = openInterface(name)
  const sink = file === undefined ? undefined : openFile(file, live.linkType)
  let captured = 0
  let timer: NodeJS.Timeout | undefined
  const ended = new Promise<void>((resolve, reject) => {
    if (count === 0) resolve()
    live.onFrame((bytes, at) => {
      if (captured >= count) return
      captured += 1
      const { linkType } = live
      const frame: CapturedFrame = {
        ...{ kind: 'frame', number: captured, at, linkType, bytes },
        wireLength: bytes.length,
      }
      try {
        if (sink === undefined) output.show(frame)
        else sink.write(pcapRecord(at, bytes))
      } catch (cause) {
        reject(cause)
      }
      if (captured === count) resolve()
    })
    if (seconds !== undefined) timer = setTimeout(resolve, seconds * 1000)
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
  })
  process.stderr.write(`listening on ${name}\n`)
  try {
    await ended
  } finally {
    clearTimeout(timer)
    live.close()
    sink?.close()
  }
  const where = file === undefined ? `: ${output.summary()}` : ` in ${file}`
  process.stderr.write(`${captured} packet${captured === 1 ? '' : 's'} captured${where}\n`)
}

interface LiveCapture {
  readonly linkType: number
  /** `bytes` is a copy; `at` is nanoseconds since 1970. */
  onFrame(take: (bytes: Uint8Array, at: bigint) => void): void
  close(): void
}

/** The part of the package's `Cap` that is used. */
interface CapHandle {
  open(device: string, filter: string, bufferBytes: number, buffer: Buffer): string
  setMinBytes?(bytes: number): void
  on(name: 'packet', listener: (bytes: number, truncated: boolean) => void): void
  close(): void
}

function openInterface(name: string): LiveCapture {
  const handle = loadCap()
  const buffer = Buffer.alloc(FRAME_BYTES)
  let linkName: string
  try {
    linkName = handle.open(name, CAPTURE_FILTER, KERNEL_BUFFER_BYTES, buffer)
  } catch (cause) {
    throw refusal(name, cause as Error)
  }
  const linkType = LINK_TYPES[linkName]
  if (linkType === undefined) {
    handle.close()
    throw new CliFailure(`${name} has a link layer that is not understood here: ${linkName}`)
  }
  handle.setMinBytes?.(0)
  return {
    linkType,
    onFrame(take) {
      handle.on('packet', (bytes) => {
        const now = BigInt(Math.round((performance.timeOrigin + performance.now()) * 1000)) * 1000n
        take(Uint8Array.from(buffer.subarray(0, bytes)), now)
      })
    },
    close: () => handle.close(),
  }
}

function loadCap(): CapHandle {
  let Cap: new () => CapHandle
  try {
    // By require, because the package is CommonJS without types and may not be there at all.
    ;({ Cap } = createRequire(import.meta.url)('cap') as { Cap: new () => CapHandle })
  } catch {
    throw new CliFailure(
      'the optional package "cap" is not installed, so nothing can be captured here',
      'apt-get install libpcap-dev, then npm rebuild cap; or use tcpdump -w FILE and godwit decode',
    )
  }
  return new Cap()
}

function refusal(name: string, cause: Error): CliFailure {
  if (/permi/i.test(cause.message)) {
    return new CliFailure(`no permission to capture on ${name}`, 'run this as root')
  }
  const known = ['any', ...Object.keys(networkInterfaces())]
  if (known.includes(name)) return new CliFailure(`cannot capture on ${name}: ${cause.message}`)
  return new CliFailure(`there is no interface ${name}`, `there are: ${known.join(', ')}`, 2)
}

function openFile(
  file: string,
  linkType: number,
): { write(bytes: Uint8Array): void; close(): void } {
  const failure = (cause: unknown): CliFailure =>
    new CliFailure(`${file} cannot be written: ${(cause as Error).message}`, undefined, 2)
  try {
    const descriptor = openSync(file, 'w', 0o600)
    writeSync(descriptor, pcapFileHeader(linkType))
    return {
      write(bytes) {
        try {
          writeSync(descriptor, bytes)
        } catch (cause) {
          throw failure(cause)
        }
      },
      close: () => closeSync(descriptor),
    }
  } catch (cause) {
    throw failure(cause)
  }
}

/** The package's names; "any" is cooked. */
const LINK_TYPES: Readonly<Record<string, number>> = {
  ETHERNET: LINK_TYPE.ethernet,
  NULL: LINK_TYPE.loopback,
  RAW: LINK_TYPE.raw,
  LINKTYPE_LINUX_SLL: LINK_TYPE.linuxCooked,
}

/** The package asks libpcap for no more. */
const FRAME_BYTES = 65_535

// Choice: a second of 60,000 small packets, as much as is read without loss.
const KERNEL_BUFFER_BYTES = 16 << 20
