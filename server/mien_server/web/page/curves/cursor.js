// The round that a person looks at, in all charts at once: pointed at in one, or chosen by keys.

class RoundCursor extends EventTarget {
  /** null: nobody looks at one, so the last is told. */
  round = null;

  look(round) {
    if (round === this.round) return;
    this.round = round;
    this.dispatchEvent(new Event("look"));
  }
}

export const cursor = new RoundCursor();
