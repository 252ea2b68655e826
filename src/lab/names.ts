/**
 * Where everything of a lab lives: names of namespaces, and paths of its state.
 *
 * Every name carries the topology's, so that two topologies can be up at once and what a crash left
 * behind is found by name alone, without a record that the crash could have prevented.
 */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

export interface LabPaths {
  readonly state: string
  readonly topologyFile: string
  /** Configurations and secrets; relative secret files start here. */
  readonly config: string
  readonly processes: string
  readonly logs: string
  readonly pins: string
}

const NAMESPACE_PREFIX = 'gw-'
export const LAB_DIRECTORY = '/run/godwit/lab'
export const BPF_FILE_SYSTEM = '/sys/fs/bpf'

/**
 * The network namespace of `node`. A dot is in no name, so `two` never owns what is `two-clouds`'.
 */
export function namespaceOf(topology: string, node: string): string {
  return `${NAMESPACE_PREFIX}${topology}.${node}`
}

/** The file that stands for a network namespace. */
export function namespaceFile(topology: string, node: string): string {
  return `/run/netns/${namespaceOf(topology, node)}`
}

/** The state of the topology of that name. */
export function labPaths(topology: string): LabPaths {
  const state = join(LAB_DIRECTORY, topology)
  return {
    state,
    topologyFile: join(state, 'topology.json'),
    config: join(state, 'config'),
    processes: join(state, 'processes'),
    logs: join(state, 'logs'),
    pins: join(BPF_FILE_SYSTEM, 'godwit', `lab-${topology}`),
  }
}

/** The API socket of `node`'s daemon. */
export function socketOf(topology: string, node: string): string {
  return join(labPaths(topology).state, `${node}.sock`)
}

/** A file of this package, found from the compiled module's own place. */
export function packageFile(...parts: string[]): string {
  let directory = dirname(fileURLToPath(import.meta.url))
  while (!existsSync(join(directory, 'package.json')) && directory !== '/') {
    directory = dirname(directory)
  }
  return join(directory, ...parts)
}

/** A compiled module beside this one, as `../daemon/main.js`. */
export function compiledFile(relative: string): string {
  return fileURLToPath(new URL(relative, import.meta.url))
}
