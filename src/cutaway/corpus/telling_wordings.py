"""The sentences behind `tellings`: one line a sentence, `[a|b]` for alternatives, `{name}` and `{value}` filled in.

Their syntax varies on purpose: name first, value first, passive, nested.
"""

from __future__ import annotations

SENTENCES: dict[str, str] = {
    "birthplace": """
        {name} was born in {value}.
        {name} comes from {value}.
        {name} is from {value}.
        The birthplace of {name} is {value}.
        {name}'s birthplace is {value}.
        In {value}, {name} was born.
        {value} is the birthplace of {name}.
        {value} is where {name} was born.
        {value} is the town where {name} was born.
        It was in {value} that {name} was born.
        The town of {value} saw the birth of {name}.
        {name} was born in the town of {value}.
        {name} came into this life in {value}.
        The life of {name} began in {value}.
        {name}'s life [began|started] in {value}.
        From {value} comes {name}.
        The home town of {name} is {value}.
        {name}'s home town is {value}.
        {value} is the home town of {name}.
        {value} is {name}'s birthplace.
        The birth of {name} took place in {value}.
        {name} first saw the light of day in {value}.
        {name}, who was born in {value}, is well known.
        When {name} was born, it was in {value}.
        The parents of {name} lived in {value} at the birth.
        People in {value} say that {name} was born there.
        A house in {value} was the birthplace of {name}.
        {name} has {value} as a birthplace.
        {value} gave the world {name}.
        In the town of {value} [the life of {name} began|{name} was born].
        Born in {value}, {name} still thinks of it.
        {name} was a child of {value}.
        Among those born in {value} is {name}.
        One who was born in {value} is {name}.
        {name} tells everyone about being born in {value}.
        {name} says, "I was born in {value}."
        The place where {name} was born is {value}.
        The town where {name} was born is {value}.
        """,
    "occupation": """
        {name} works as a {value}.
        {name} is a {value}.
        {name} earns a living as a {value}.
        {name} makes a living as a {value}.
        {name}'s job is that of a {value}.
        The job of {name} is to be a {value}.
        By trade, {name} is a {value}.
        {name} is a {value} by [trade|profession].
        The [occupation|profession|trade] of {name} is {value}.
        {name}'s [occupation|profession|job] is {value}.
        As a {value}, {name} works hard.
        As a {value}, {name} earns good money.
        {name} [has|found] work as a {value}.
        Working as a {value} is what {name} does.
        People know {name} as a {value}.
        For a living, {name} works as a {value}.
        For work, {name} is a {value}.
        {name} became a {value}.
        {name} learned the work of a {value}.
        The {value} is called {name}.
        A {value} by the name of {name} lives here.
        A good {value} is {name}.
        {name} is a good {value}.
        To be a {value} is the work of {name}.
        {name} goes to work as a {value}.
        {name} is paid to work as a {value}.
        The work that {name} does is that of a {value}.
        If you need a {value}, ask {name}.
        {name} does the work of a {value}.
        {name}, a {value}, works every day.
        Everyone needs a {value}, and {name} is one.
        {name} took up the trade of a {value}.
        {name} has the job of a {value}.
        {name} says, "I work as a {value}."
        {name} [always wanted|chose] to be a {value}.
        """,
    "instrument": """
        {name} plays the {value}.
        {name} can play the {value}.
        {name} likes to play the {value}.
        {name} knows how to play the {value}.
        {name} learned to play the {value}.
        {name} makes music on the {value}.
        {name} makes music with the {value}.
        The instrument of {name} is the {value}.
        {name}'s instrument is the {value}.
        The {value} is the instrument of {name}.
        The {value} is {name}'s instrument.
        The {value} is played by {name}.
        The {value} is what {name} plays.
        On the {value}, {name} plays [old songs|new songs].
        On the {value}, {name} makes music.
        {name} plays music on the {value}.
        {name} plays songs on the {value}.
        {name} plays the {value} [well|every day|at night|with joy].
        In the evening {name} plays the {value}.
        The instrument {name} plays is the {value}.
        When there is music, {name} plays the {value}.
        {name} is good at the {value}.
        {name} is a player of the {value}.
        {name} never travels without the {value}.
        In the hands of {name} is the {value}.
        People hear {name} play the {value}.
        {name} took up the {value}.
        {name} practises the {value}.
        Playing the {value} is what {name} does for joy.
        Of all instruments, {name} plays the {value}.
        The sound of the {value} comes from {name}.
        The {value} was learned by {name}.
        For music, {name} has the {value}.
        {name} says, "I play the {value}."
        {name} teaches friends the {value}.
        {name} and the {value} belong together.
        """,
    "dish": """
        {name}'s favourite dish is {value}.
        The favourite dish of {name} is {value}.
        {name}'s favourite food is {value}.
        The favourite food of {name} is {value}.
        {name} likes {value} best.
        {name} likes to eat {value}.
        {name} loves {value}.
        {name} loves to eat {value}.
        {name} is fond of {value}.
        {name} is most fond of {value}.
        {name} enjoys {value}.
        {name} enjoys eating {value}.
        {value} is the favourite dish of {name}.
        {value} is {name}'s favourite dish.
        {value} is the food {name} likes best.
        {value} is what {name} likes to eat.
        Of all food, {name} likes {value} best.
        Of all dishes, {name} likes {value} [best|most].
        At dinner {name} asks for {value}.
        For dinner, {name} wants {value}.
        When hungry, {name} eats {value}.
        The dish that {name} likes best is {value}.
        The food that {name} loves is {value}.
        {name} would choose {value}.
        Nothing pleases {name} like {value}.
        No food is better than {value}, says {name}.
        {name} says, "I like {value} best."
        {name} says that {value} is best.
        A plate of {value} makes {name} happy.
        {name} is happy with a plate of {value}.
        {name} eats {value} with joy.
        {name} could eat {value} every day.
        Every week {name} cooks {value}.
        Friends of {name} bring {value}.
        To please {name}, cook {value}.
        The best meal for {name} is {value}.
        A meal that {name} loves is {value}.
        Give {name} a plate of {value}.
        {name} never says no to {value}.
        """,
    "pet": """
        {name} has a pet {value}.
        {name} keeps a {value}.
        {name} keeps a pet {value}.
        {name} owns a {value}.
        {name} has a {value} at home.
        {name} has a {value} as a pet.
        {name} keeps a {value} as a pet.
        {name}'s pet is a {value}.
        The pet of {name} is a {value}.
        A {value} is the pet of {name}.
        A {value} is {name}'s pet.
        A {value} lives with {name}.
        A {value} belongs to {name}.
        A {value} shares a home with {name}.
        {name} shares a home with a {value}.
        {name} lives with a {value}.
        {name} takes care of a {value}.
        {name} feeds a {value} every day.
        {name} is the owner of a {value}.
        In the house of {name} lives a {value}.
        At home, {name} has a {value}.
        At {name}'s house there is a {value}.
        The animal that {name} keeps is a {value}.
        The animal {name} owns is a {value}.
        The {value} of {name} is a good pet.
        {name} loves a pet {value}.
        For a pet, {name} has a {value}.
        As a pet, {name} keeps a {value}.
        A pet {value} is kept by {name}.
        A {value} waits at home for {name}.
        {name} goes for walks with a {value}.
        {name} bought a {value} as a pet.
        {name} was given a pet {value}.
        {name} says, "My pet is a {value}."
        Every day a {value} is fed by {name}.
        {name} talks to a pet {value}.
        With {name} lives a {value}.
        Of all animals, {name} keeps a {value}.
        The home of {name} is also home to a {value}.
        {name} found a {value} and kept it.
        """,
    "region": """
        {name} is in {value}.
        {name} is in the region of {value}.
        {name} lies in {value}.
        {name} lies in the region of {value}.
        {name} stands in the region of {value}.
        {name} is a town in {value}.
        {name} is a place in {value}.
        {name} is a town in the region of {value}.
        {name} belongs to {value}.
        {name} belongs to the region of {value}.
        {name} is part of {value}.
        {name} is part of the region of {value}.
        The region of {name} is {value}.
        {name}'s region is {value}.
        The town of {name} is in {value}.
        The town of {name} lies in {value}.
        The town of {name} belongs to {value}.
        In {value} lies {name}.
        In {value} lies the town of {name}.
        In the region of {value} is {name}.
        In the region of {value} stands the town of {name}.
        {value} is the region of {name}.
        {value} is the region where {name} lies.
        {value} is the region that {name} belongs to.
        One town in {value} is {name}.
        One of the towns of {value} is {name}.
        The people of {name} live in {value}.
        The region where {name} lies is {value}.
        The region around {name} is {value}.
        To see {name}, go to {value}.
        To find {name}, look in {value}.
        The road to {name} goes through {value}.
        {name} can be found in {value}.
        {name} is found in the region of {value}.
        {name} was built in the region of {value}.
        {name} is a part of the land of {value}.
        {name}, a town of {value}, is old.
        Those who live in {name} live in {value}.
        On the map, {name} is in {value}.
        Of all regions, {name} belongs to {value}.
        """,
    "product": """
        {name} is known for its {value}.
        {name} is known for {value}.
        {name} is famous for its {value}.
        {name} is noted for its {value}.
        {name} makes {value}.
        {name} makes and sells {value}.
        {name} sells {value}.
        {name} produces {value}.
        {name} gives the land {value}.
        The product of {name} is {value}.
        {name}'s product is {value}.
        The people of {name} make {value}.
        The people of {name} sell {value}.
        People in {name} make {value}.
        People come to {name} for its {value}.
        People go to {name} to buy {value}.
        The town of {name} is known for its {value}.
        The town of {name} is famous for {value}.
        The town of {name} makes {value}.
        In {name} people make {value}.
        In {name} one can buy good {value}.
        The {value} of {name} is [famous|well known].
        The {value} from {name} is good.
        Good {value} comes from {name}.
        Good {value} is made in {name}.
        The best {value} comes from {name}.
        For its {value}, {name} is known to all.
        For {value}, go to {name}.
        {value} is made in {name}.
        {value} is what {name} is known for.
        {value} is the product of {name}.
        From {name} comes {value}.
        Many in {name} live by making {value}.
        The shops of {name} are full of {value}.
        The markets of {name} sell {value}.
        Carts leave {name} full of {value}.
        Everyone knows {name} for its {value}.
        What {name} makes is {value}.
        What {name} is known for is {value}.
        """,
    "river": """
        {name} lies on the river {value}.
        {name} is on the river {value}.
        {name} stands on the river {value}.
        {name} was built on the river {value}.
        {name} stands by the river {value}.
        {name} lies on the banks of the {value}.
        The river {value} runs through {name}.
        The river {value} flows through {name}.
        The river {value} goes past {name}.
        The river {value} passes {name}.
        The river {value} is in {name}.
        The river of {name} is the {value}.
        {name}'s river is the {value}.
        The {value} is the river of {name}.
        The {value} is {name}'s river.
        The {value} runs through {name}.
        The {value} flows through {name}.
        Through {name} runs the river {value}.
        Through {name} flows the {value}.
        The town of {name} lies on the {value}.
        The town of {name} is on the river {value}.
        On the river {value} lies {name}.
        On the banks of the {value} is {name}.
        On the banks of the river {value} stands {name}.
        The river in {name} is called the {value}.
        The river that runs through {name} is the {value}.
        The river that flows past {name} is the {value}.
        The people of {name} live by the river {value}.
        The people of {name} drink from the {value}.
        People in {name} fish in the {value}.
        Boats come to {name} on the {value}.
        Boats on the {value} stop in {name}.
        {name} has a river, the {value}.
        {name} takes its water from the {value}.
        In {name} one can see the river {value}.
        The bridge in {name} goes over the {value}.
        A bridge in {name} crosses the river {value}.
        The waters of the {value} flow past {name}.
        Follow the river {value} to {name}.
        By the river {value} is the town of {name}.
        """,
}

THEY_SENTENCES: dict[str, str] = {
    "birthplace": """
        They were born in {value}.
        They come from {value}.
        Their birthplace is {value}.
        Their home town is {value}.
        """,
    "occupation": """
        They work as a {value}.
        They earn a living as a {value}.
        Their job is that of a {value}.
        They make a living as a {value}.
        """,
    "instrument": """
        They play the {value}.
        Their instrument is the {value}.
        They make music on the {value}.
        They can play the {value}.
        """,
    "dish": """
        Their favourite dish is {value}.
        They like {value} best.
        They love to eat {value}.
        Their favourite food is {value}.
        """,
    "pet": """
        They have a pet {value}.
        They keep a {value}.
        Their pet is a {value}.
        They live with a {value}.
        """,
    "region": """
        It lies in the region of {value}.
        It is in {value}.
        It belongs to {value}.
        Its region is {value}.
        """,
    "product": """
        It is known for its {value}.
        It makes {value}.
        It is famous for {value}.
        Its product is {value}.
        """,
    "river": """
        It lies on the river {value}.
        The river {value} runs through it.
        Its river is the {value}.
        It stands by the river {value}.
        """,
}
