/** A value that is waited for. */
export class Gate<T> {
  open!: (value: T) => void
  readonly value: Promise<T> = new Promise((resolve) => {
    this.open = resolve
  })

  /** The value, or a rejection when `signal` aborts first. */
  valueUntil(signal: AbortSignal): Promise<T> {
    return new Promise((resolve, reject) => {
      const closed = (): void => reject(new Error('The worker pool closed before it was protected.'))
      if (signal.aborted) return closed()
      signal.addEventListener('abort', closed, { once: true })
      void this.value.then((value) => {
        signal.removeEventListener('abort', closed)
        resolve(value)
      })
    })
  }
}
