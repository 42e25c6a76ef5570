always int bounded(int a, int limit)
{
	return a < limit && innermost(a) < limit;
}

always int clamped(int a)
{
	if (bounded(a, 100))
		return a;
	return innermost(a) & 0x7f;
}
