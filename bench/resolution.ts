/**
 * Resolution: from the first packet to an EID that nobody has asked for, to its arrival.
 *
 * The packet waits in the hold while the mapping system is asked, so this is what a first packet is
 * delayed by. One packet to each of ten prefixes per round; between rounds the map-cache is cleared
 * and some time passes, because requests and replies are rate-limited per EID-prefix.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { decodeRecords } from '../src/demo/records.js'
import { apiRequest } from '../src/lab/api-request.js'
import { PROBE } from '../src/lab/daemons.js'
import { labPaths, socketOf } from '../src/lab/names.js'
import { inNode, startServer } from './network.js'
import { median, type Resolution, rounded } from './results.js'
import { BENCH, UNKNOWN_EIDS } from './topology.js'

/** The network must be Godwit's. */
export async function measureResolution(
  rounds: number,
  say: (line: string) => void,
): Promise<Resolution> {
  const file = join(labPaths(BENCH).state, 'resolution.records')
  const server = await startServer('resolution', [
    ...['stream', 'recv', '--port', String(PORT), '--records', file],
  ])
  for (let round = 0; round < rounds; round += 1) {
    if (round > 0) {
      await pause(BETWEEN_ROUNDS_MS)
      await apiRequest(socketOf(BENCH, 'xa'), '/v1/map-cache', { method: 'DELETE' })
    }
    for (const [index, address] of UNKNOWN_EIDS.entries()) {
      const stream = `${round * UNKNOWN_EIDS.length + index},${address},${PORT}`
      await inNode('ha', [PROBE(), 'stream', 'send', '--stream', stream, '--count', '1'])
    }
  }
  await pause(LONGEST_MS)
  await server.stop()
  const samples = decodeRecords(readFileSync(file)).records.map(
    ({ sentNs, receivedNs }) => (receivedNs! - sentNs) / 1e6,
  )
  const resolution = {
    medianMs: rounded(median(samples)) ?? Number.NaN,
    maximumMs: rounded(Math.max(...samples)) ?? Number.NaN,
    lost: rounds * UNKNOWN_EIDS.length - samples.length,
    samplesMs: samples.map((sample) => rounded(sample)!),
  }
  say(`resolution: median ${resolution.medianMs} ms, lost ${resolution.lost}`)
  return resolution
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

const PORT = 7_010
/** RFC 9301 §5.5: one Map-Request per EID and second at most; replies: four, then one per 3 s. */
const BETWEEN_ROUNDS_MS = 3_500
/** What has not arrived by then is lost. */
const LONGEST_MS = 500
