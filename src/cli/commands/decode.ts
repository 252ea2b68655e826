/** `godwit decode`: what every LISP packet of a capture file says. */
import { createReadStream } from 'node:fs'
import { createCaptureReader } from '../../capture/capture-reader.js'
import type { CaptureItem } from '../../capture/captured-frame.js'
import type { CliCommand, CommandContext } from '../command.js'
import { CliFailure } from '../failure.js'

export const decodeCommands: readonly CliCommand[] = [
  {
    usage: 'decode <file>',
    summary: 'explain every LISP packet of a pcap or pcapng file; "-" is standard input',
    needsDaemon: false,
    options: [
      [
        '--keys <file>',
        'YAML list of {id, algorithm, secretFile or secret}: verify authentication',
      ],
    ],
    examples: [
      'godwit decode incident.pcapng',
      'godwit decode incident.pcap --json --keys keys.yaml',
      "ssh xtr tcpdump -w - -U 'udp port 4342' | godwit decode -",
    ],
    run: runDecode,
  },
]

/** Packets go to standard output, the count to standard error, so that output can be piped. */
async function runDecode(context: CommandContext): Promise<void> {
  // Loaded here, because no other command needs it.
  const { createPacketOutput } = await import('../packet-output.js')
  const output = createPacketOutput(context)
  const file = String(context.arguments[0])
  const reader = createCaptureReader()
  const show = (items: readonly CaptureItem[]): void => {
    for (const item of items) {
      if (item.kind === 'frame') output.show(item)
      else if (item.code === 'not-a-capture') throw notACapture(file)
      else output.fault(item)
    }
  }
  const stream =
    file === '-' ? process.stdin : createReadStream(file, { highWaterMark: CHUNK_BYTES })
  try {
    for await (const chunk of stream) {
      show(reader.push(chunk as Uint8Array))
      if (reader.over) break
    }
  } catch (cause) {
    if (cause instanceof CliFailure) throw cause
    throw new CliFailure(`${file} cannot be read: ${reasonOf(cause)}`, undefined, 2)
  }
  show(reader.end())
  process.stderr.write(`${file}: ${output.summary()}\n`)
}

const CHUNK_BYTES = 1 << 20

function notACapture(file: string): CliFailure {
  const remedy = 'pcap and pcapng are understood; decompress it first if it is compressed'
  return new CliFailure(`${file} is not a capture file`, remedy, 2)
}

function reasonOf(cause: unknown): string {
  const { code, message } = cause as NodeJS.ErrnoException
  if (code === 'ENOENT') return 'no such file'
  if (code === 'EACCES') return 'permission denied'
  if (code === 'EISDIR') return 'it is a directory'
  return message
}
