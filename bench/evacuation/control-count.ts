/**
 * Control messages that cross the core, counted by type: what a measurement costs the mapping system.
 * By tcpdump where it is; without it the count is empty.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createCaptureReader } from '../../src/capture/capture-reader.js'
import { createDissector } from '../../src/capture/dissect.js'
import type { Topology } from '../../src/config/topology-schema.js'
import { startProcess } from '../../src/lab/processes.js'

export interface ControlCount {
  /** Messages since the start, by type as the decoder names them. */
  stop(): Promise<Readonly<Record<string, number>>>
}

/** Counts what the core forwards; resolves when it is counting. */
export async function startControlCount(
  topology: Topology,
  directory: string,
): Promise<ControlCount> {
  const file = join(directory, 'control.pcap')
  const command = [
    'tcpdump', '-i', 'any', '-Q', 'in', '-n', '-U', '-B', '16384', '-Z', 'root', '-w', file, 'udp', 'port', '4342',
  ] // biome-ignore format: one option per line says nothing more
  const child = startProcess({
    topology: topology.name,
    node: 'core',
    name: 'control-count',
    command,
    output: 'pipe',
  })
  const isCounting = await new Promise<boolean>((resolve) => {
    child.on('close', () => resolve(false))
    child.stderr!.on('data', (data) => {
      if (String(data).includes('listening')) resolve(true)
    })
  })
  return {
    async stop() {
      if (!isCounting) return {}
      const closed = once(child, 'close')
      child.kill('SIGTERM')
      await closed
      return countMessages(readFileSync(file))
    },
  }
}

/** Messages of a capture by type, most frequent first. Pure. */
export function countMessages(capture: Uint8Array): Readonly<Record<string, number>> {
  const reader = createCaptureReader()
  const dissector = createDissector()
  const counts = new Map<string, number>()
  for (const item of [...reader.push(capture), ...reader.end()]) {
    if (item.kind !== 'frame') continue
    const packet = dissector.dissect(item)
    if (packet.kind !== 'control') continue
    const { kind } = packet.control.message
    counts.set(kind, (counts.get(kind) ?? 0) + 1)
  }
  return Object.fromEntries([...counts].sort((left, right) => right[1] - left[1]))
}
