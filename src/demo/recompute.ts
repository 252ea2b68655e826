/**
 * `node recompute.js DIRECTORY [--from-captures]`: the figures of a run once more, from what
 * `--out` kept. From captures: what a packet capture saw leave and arrive, instead of what the
 * traffic tool wrote.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { computeFigures } from './analysis.js'
import { decodeCapture, decodeRecords, type PacketRecord } from './records.js'
import { expectationOf, judge } from './result.js'
import type { SavedRun } from './saved-run.js'

const [directory, mode] = process.argv.slice(2)
if (directory === undefined || (mode !== undefined && mode !== '--from-captures')) {
  process.stderr.write('usage: node recompute.js DIRECTORY [--from-captures]\n')
  process.exit(2)
}
const run = JSON.parse(readFileSync(join(directory, 'run.json'), 'utf8')) as SavedRun
const { sent, received } =
  mode === undefined ? fromRecords(directory) : fromCaptures(directory, run)
const figures = computeFigures(run.streams, sent, received, run.windows)
const { result } = judge(figures, run.tcp, expectationOf(run.expectedMoves, run.performed))
process.stdout.write(`${JSON.stringify(result)}\n`)
process.exitCode = result.ok ? 0 : 1

interface Packets {
  readonly sent: PacketRecord[]
  readonly received: PacketRecord[]
}

function fromRecords(path: string): Packets {
  const packets: Packets = { sent: [], received: [] }
  for (const name of readdirSync(path).filter((file) => file.endsWith('.records'))) {
    const { kind, records } = decodeRecords(readFileSync(join(path, name)))
    for (const record of records) packets[kind].push(record)
  }
  return packets
}

/** The endpoint's capture holds what it sent and what it got, and so does the host's. */
function fromCaptures(
  path: string,
  { streams, endpoint, realtimeMinusMonotonicNs }: SavedRun,
): Packets {
  const packets: Packets = fromRecords(path)
  const captured = new Set(streams.filter(({ cold }) => !cold).map(({ id }) => id))
  const keep = (list: PacketRecord[]): PacketRecord[] =>
    list.filter(({ stream }) => !captured.has(stream))
  const [sent, received] = [keep(packets.sent), keep(packets.received)]
  for (const name of readdirSync(path).filter((file) => file.endsWith('.pcap'))) {
    const atEndpoint = name === `${endpoint}.pcap`
    for (const record of decodeCapture(readFileSync(join(path, name)), realtimeMinusMonotonicNs)) {
      if (!captured.has(record.stream)) continue
      const towards = streams.find(({ id }) => id === record.stream)?.direction === 'toEndpoint'
      ;(towards === atEndpoint ? received : sent).push(record)
    }
  }
  return { sent, received }
}
