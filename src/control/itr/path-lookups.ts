/**
 * The hops of explicit locator paths that have to be looked up (L bit, RFC 8060 §4.6), and the
 * mappings that wait for them.
 *
 * A mapping that meets such a hop is written again as soon as something is learned about the hop.
 * Decides nothing about the hops themselves: explicit-path.ts does.
 */
import { coversEid, type Eid, type EidPrefix, formatEid, formatEidPrefix } from '../../lisp/eid.js'

export interface PathLookups {
  /** `user` depends on this hop; false when there are too many hops to look up. */
  depend(eid: Eid, user: EidPrefix): boolean
  /** What is to be written again now that `learned` has changed. */
  usersOf(learned: EidPrefix): EidPrefix[]
  /** The mapping is gone. */
  forget(user: EidPrefix): void
}

/** Hops looked up at once; a path through more of them leads nowhere. */
const MAXIMUM_HOPS = 1024

export function createPathLookups(): PathLookups {
  const hops = new Map<string, { readonly eid: Eid; readonly users: Map<string, EidPrefix> }>()
  return {
    depend(eid, user) {
      const key = formatEid(eid)
      const known = hops.get(key)
      if (known === undefined && hops.size >= MAXIMUM_HOPS) return false
      const hop = known ?? { eid, users: new Map<string, EidPrefix>() }
      hop.users.set(formatEidPrefix(user), user)
      hops.set(key, hop)
      return true
    },
    usersOf(learned) {
      const users = new Map<string, EidPrefix>()
      if (hops.size === 0) return []
      for (const hop of hops.values())
        if (coversEid(learned, hop.eid)) for (const [key, user] of hop.users) users.set(key, user)
      users.delete(formatEidPrefix(learned))
      return [...users.values()]
    },
    forget(user) {
      if (hops.size === 0) return
      const key = formatEidPrefix(user)
      for (const [name, hop] of hops)
        if (hop.users.delete(key) && hop.users.size === 0) hops.delete(name)
    },
  }
}
