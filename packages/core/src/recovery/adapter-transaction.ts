import type { MonitorConfig } from '../options.js'
import { inTransaction, type Store, type TransactionStore } from '../store/store.js'

/** Milliseconds by which others are more patient than whoever waits for an adapter that hangs: it is to be named. */
export const SILENCE_MARGIN = 1_000

/** A transaction that an adapter joins. The database ends it when this process falls silent in the middle of it. */
export const inAdapterTransaction = <T>(
  store: Store,
  { gcLockTtl }: MonitorConfig,
  work: (store: TransactionStore) => Promise<T>,
): Promise<T> =>
  inTransaction(store, (inner) =>
    inner.dialect.bounded(inner.db, { silence: gcLockTtl + SILENCE_MARGIN }, () => work(inner)),
  )
