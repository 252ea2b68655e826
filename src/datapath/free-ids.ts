/**
 * Small integers given out and taken back: locator-set ids and counter ids.
 *
 * Ids run from 1 to `maximum`; 0 means "none" in the maps. Freed ids are used again, last freed
 * first.
 */
export interface FreeIds {
  /** Undefined when all are in use. */
  allocate(): number | undefined
  free(id: number): void
  /**
   * Mark as in use an id found in a pinned map. False when it is out of range or in use already.
   */
  reserve(id: number): boolean
}

export function createFreeIds(maximum: number): FreeIds {
  const used = new Set<number>()
  const freed: number[] = []
  let next = 1
  return {
    allocate() {
      while (freed.length > 0) {
        const id = freed.pop()!
        // A freed id may have been reserved since.
        if (!used.has(id)) {
          used.add(id)
          return id
        }
      }
      while (next <= maximum && used.has(next)) next += 1
      if (next > maximum) return undefined
      used.add(next)
      next += 1
      return next - 1
    },
    free(id) {
      if (used.delete(id)) freed.push(id)
    },
    reserve(id) {
      if (id < 1 || id > maximum || used.has(id)) return false
      used.add(id)
      return true
    },
  }
}
