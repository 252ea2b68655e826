/**
 * What the daemon does when interfaces that it uses come, go or change: says so, and takes them up.
 *
 * One that is there again under another index gets a new node on the same store and maps, the way of a
 * reload: EIDs and programs find their place under the new index. Another MAC address, MTU or address is
 * written into the maps. One that is gone is only reported: renamed, it still forwards; deleted, the kernel
 * took the programs with it.
 */
import type { NodeConfig } from '../config/node-config.js'
import type { Event } from '../control/event.js'
import type { NetworkInterface } from '../datapath/network-interface.js'
import {
  type InterfaceProblem,
  interfaceChanges,
  interfaceProblems,
  problemText,
} from './interface-state.js'

export interface InterfaceFollowing {
  /** A reading of all interfaces; to be awaited before the next. */
  take(reading: readonly NetworkInterface[]): Promise<void>
  /** What is amiss now, as sentences. */
  problems(): readonly string[]
}

export interface InterfaceFollowingParts {
  readonly nodeConfig: () => NodeConfig
  /** What the datapath was last given. */
  readonly interfaces: () => readonly NetworkInterface[]
  readonly raise: (event: Event) => void
  /** The datapath is given this reading; may throw, and is then tried with the next one. */
  readonly alter: (reading: readonly NetworkInterface[]) => void
  /** A new node, on a reading of its own. */
  readonly renew: () => Promise<unknown>
}

export function createInterfaceFollowing(parts: InterfaceFollowingParts): InterfaceFollowing {
  const { nodeConfig, raise } = parts
  let known = new Map<string, InterfaceProblem>()

  function tellProblems(reading: readonly NetworkInterface[]): void {
    const found = interfaceProblems(nodeConfig(), reading)
    const present = new Map(found.map((one) => [problemText(one), one]))
    for (const [text, problem] of present) {
      if (known.has(text)) continue
      const severity = problem.reason === 'missing' ? 'error' : 'warning'
      raise({ name: 'interface-problem', severity, ...problem, problem: text })
    }
    for (const [text, problem] of known)
      if (!present.has(text)) raise({ name: 'interface-mended', severity: 'notice', ...problem })
    known = present
  }

  return {
    async take(reading) {
      tellProblems(reading)
      const { renewed, altered } = interfaceChanges(nodeConfig(), parts.interfaces(), reading)
      const interfaceNames = [...renewed, ...altered]
      if (interfaceNames.length === 0) return
      const reason = renewed.length > 0 ? 'renewed' : 'altered'
      raise({ name: 'interface-changed', severity: 'notice', reason, interfaceNames })
      if (renewed.length > 0) await parts.renew()
      else parts.alter(reading)
    },
    problems: () => [...known.keys()],
  }
}
