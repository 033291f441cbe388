import { onLeg } from '../../testing/legs.js'

export default onLeg('kit', process.env.HOLDFAST_TEST_DB)
