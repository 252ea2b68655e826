/**
 * Things ordered by the moment at which they are over: a binary heap whose members know their place.
 *
 * Adding, moving and removing cost O(log n); asking for the earliest is free. Times are milliseconds
 * on the caller's clock. A time of Infinity is allowed and simply never becomes the earliest.
 */

/** A member of the heap; kept by the owner to move or remove it. Written to by the heap alone. */
export interface ExpirySlot<Value> {
  readonly value: Value
  readonly at: number
}

export interface ExpiryHeap<Value> {
  readonly size: number
  add(value: Value, at: number): ExpirySlot<Value>
  /** Changes the time; a slot that is no longer in the heap is left alone. */
  move(slot: ExpirySlot<Value>, at: number): void
  remove(slot: ExpirySlot<Value>): void
  first(): ExpirySlot<Value> | undefined
  /** Takes out the earliest if it is over at `now` (at ≤ now). */
  takeDue(now: number): Value | undefined
}

export function createExpiryHeap<Value>(): ExpiryHeap<Value> {
  const slots: Slot<Value>[] = []

  const place = (slot: Slot<Value>, position: number) => {
    slots[position] = slot
    slot.position = position
  }
  const rise = (slot: Slot<Value>) => {
    let position = slot.position
    while (position > 0) {
      const parent = slots[(position - 1) >> 1]!
      if (parent.at <= slot.at) break
      place(parent, position)
      position = (position - 1) >> 1
    }
    place(slot, position)
  }
  const sink = (slot: Slot<Value>) => {
    let position = slot.position
    for (;;) {
      let child = position * 2 + 1
      if (child >= slots.length) break
      if (child + 1 < slots.length && slots[child + 1]!.at < slots[child]!.at) child += 1
      if (slots[child]!.at >= slot.at) break
      place(slots[child]!, position)
      position = child
    }
    place(slot, position)
  }
  const take = (slot: Slot<Value>) => {
    if (slots[slot.position] !== slot) return
    const last = slots.pop()!
    if (last !== slot) {
      place(last, slot.position)
      rise(last)
      sink(last)
    }
    slot.position = -1
  }

  return {
    get size() {
      return slots.length
    },
    add(value, at) {
      const slot: Slot<Value> = { value, at, position: slots.length }
      slots.push(slot)
      rise(slot)
      return slot
    },
    move(given, at) {
      const slot = given as Slot<Value>
      if (slots[slot.position] !== slot) return
      slot.at = at
      rise(slot)
      sink(slot)
    },
    remove: (slot) => take(slot as Slot<Value>),
    first: () => slots[0],
    takeDue(now) {
      const slot = slots[0]
      if (slot === undefined || slot.at > now) return undefined
      take(slot)
      return slot.value
    },
  }
}

interface Slot<Value> {
  readonly value: Value
  at: number
  position: number
}
