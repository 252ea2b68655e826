/**
 * Numbered packets from the client site to a sample of the endpoints of an evacuation, one stream each,
 * and a receiver in each farm.
 */
import type { ChildProcess } from 'node:child_process'
import { join } from 'node:path'
import type { Topology } from '../../src/config/topology-schema.js'
import { PROBE, poll } from '../../src/lab/daemons.js'
import { startProcess } from '../../src/lab/processes.js'
import { FARMS } from './topology.js'

export interface SampleTraffic {
  readonly files: { readonly sent: string; readonly received: readonly string[] }
  /** Ends the sender, waits for stragglers, ends the receivers. */
  stop(): Promise<void>
}

/** Resolves when packets have flowed for a second. */
export async function startSampleTraffic(
  topology: Topology,
  addresses: readonly string[],
  directory: string,
): Promise<SampleTraffic> {
  const sent = join(directory, 'sent.records')
  const farms = Object.values(FARMS).map((farm) => ({
    farm,
    file: join(directory, `${farm}.records`),
  }))
  const start = (node: string, words: readonly string[]): ChildProcess => {
    const command = [PROBE(), 'stream', ...words]
    return startProcess({
      topology: topology.name,
      node,
      name: `${node}-stream`,
      command,
      output: 'pipe',
    })
  }
  const receivers = farms.map(({ farm, file }) =>
    start(farm, ['recv', '--port', PORT, '--records', file]),
  )
  await Promise.all(receivers.map(listens))
  const streams = addresses.flatMap((address, index) => [
    '--stream',
    `${index + 1},${address},${PORT}`,
  ])
  const sender = start('host1', ['send', ...streams, '--rate', RATE, '--records', sent])
  await pause(WARM_UP_MS)
  return {
    files: { sent, received: farms.map(({ file }) => file) },
    async stop() {
      await ended(sender)
      await pause(STRAGGLER_MS)
      await Promise.all(receivers.map(ended))
    },
  }
}

async function listens(child: ChildProcess): Promise<void> {
  let words = ''
  child.stderr!.on('data', (data) => {
    words += data
  })
  await poll(START_LIMIT_MS, async () =>
    words.includes('listening') ? undefined : `a receiver has not started: ${words.trim()}`,
  )
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) return resolve()
    child.on('close', () => resolve())
    child.kill('SIGTERM')
  })
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

const PORT = '5000'
/** Packets a second to each of the sample. */
const RATE = '100'
const WARM_UP_MS = 1_000
const STRAGGLER_MS = 1_000
const START_LIMIT_MS = 10_000
