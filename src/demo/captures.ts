/**
 * Captures at both ends, by tcpdump where it is installed: a witness that shares no code with the
 * traffic tool. Without tcpdump there are the tool's records alone, and a sentence says so.
 */
import { join } from 'node:path'
import type { Topology } from '../config/topology-schema.js'
import { startProcess } from '../lab/processes.js'

export interface Captures {
  readonly files: Readonly<Record<string, string>>
  stop(): Promise<void>
}

/** Captures streams on an interface of every node in `nodes`; undefined when tcpdump is not there. */
export async function startCaptures(
  topology: Topology,
  nodes: readonly string[],
  directory: string,
  interfaceName = 'eth0',
): Promise<Captures | undefined> {
  const files = Object.fromEntries(nodes.map((node) => [node, join(directory, captureName(node))]))
  const children = nodes.map((node) => {
    const command = [
      'tcpdump', '-i', interfaceName, '-n', '-U', '-s', '128', '-B', '16384', '-Z', 'root',
      '--time-stamp-precision=nano', '-w', files[node]!, 'udp', 'port', '5000',
    ] // biome-ignore format: one option per line says nothing more
    return startProcess({
      topology: topology.name,
      node,
      name: `${node}-capture`,
      command,
      output: 'pipe',
    })
  })
  const started = await Promise.all(
    children.map(
      (child) =>
        new Promise<boolean>((resolve) => {
          child.on('close', () => resolve(false))
          child.stderr?.on('data', (data) => {
            if (String(data).includes('listening')) resolve(true)
          })
        }),
    ),
  )
  if (!started.every(Boolean)) {
    for (const child of children) child.kill('SIGTERM')
    process.stderr.write('# tcpdump is not installed: packet records only, no captures\n')
    return undefined
  }
  return {
    files,
    async stop() {
      await Promise.all(
        children.map(
          (child) =>
            new Promise<void>((resolve) => {
              child.on('close', () => resolve())
              child.kill('SIGTERM')
            }),
        ),
      )
    },
  }
}

/** The file name of a node's capture. */
function captureName(node: string): string {
  return `${node}.pcap`
}
